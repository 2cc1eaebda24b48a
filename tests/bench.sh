#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Measures models on every instruction set with one and two threads, oneDNN's products and a run on
# one thread beside each, turn by turn, and prints the tables of src/kernels/PERFORMANCE.md.
#
#     tests/bench.sh BUILD MODEL.gguf...
#
# ISAS, THREADS and RUNS in the environment narrow the matrix. A model NAME.gguf that has a
# NAME.shift.gguf beside it (the same checkpoint, shift operators) is compared with that too.
# Nothing else should run on the machine.
set -eu

if [ $# -lt 2 ]; then
    echo "usage: tests/bench.sh BUILD MODEL.gguf..." >&2
    exit 2
fi
bench=$1/iviti-bench
shift
isas=${ISAS:-"avx512vnni avxvnni avx2 i8mm dotprod neon"}
threads=${THREADS:-"1 2"}
runs=${RUNS:+--runs $RUNS}

# The value of the N-th appearance of a key, "-" where there is none: value JSON KEY N
value() {
    found=$(printf '%s\n' "$1" | tr '{},[]' '\n\n\n\n\n' | sed -n "s/^\"$2\":\"\{0,1\}\([^\"]*\).*/\1/p" | sed -n "$3p")
    printf '%s' "${found:--}"
}

quotient() {
    awk -v a="$1" -v b="$2" 'BEGIN { if (a + 0 > 0 && b + 0 > 0) printf "%.2f", a / b; else printf "-" }'
}

row() {
    json=$1
    own=$(value "$json" median_ms 1)
    nth=2 # after the model's own times come one thread's, another model's, oneDNN's
    single=-
    shift_ratio=-
    case $json in *'"one_thread":'*) single=$(value "$json" median_ms $nth); nth=$((nth + 1)) ;; esac
    case $json in *'"beside":'*)
        shift_ratio=$(quotient "$(value "$json" median_ms $nth)" "$own")
        nth=$((nth + 1)) ;;
    esac
    int8=$(value "$json" median_ms $nth)
    real=$(value "$json" median_ms $((nth + 1)))
    printf '| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n' "$name" "$isa" \
        "$count" "$own" "$(value "$json" min_ms 1)" "$int8" "$(quotient "$own" "$int8")" "$real" \
        "$(quotient "$real" "$own")" "$(quotient "$single" "$own")" "$shift_ratio" \
        "$(value "$json" load_ms 1)" "$(value "$json" rss_mb 1)"
}

measure() {
    set -- "$@" --json --quiet --isa "$isa" --threads "$count" $runs
    if [ "$count" -gt 1 ]; then
        set -- "$@" --scaling
    fi
    if [ -f "${model%.gguf}.shift.gguf" ]; then
        set -- "$@" --beside "${model%.gguf}.shift.gguf"
    fi
    # Without oneDNN the model's own times are still worth a row.
    json=$("$bench" "$@" --peers "$model" 2>/dev/null) || json=$("$bench" "$@" "$model")
    row "$json"
}

echo '| model | set | threads | median ms | fastest ms | oneDNN u8s8 ms | x of it | oneDNN f32 ms | f32 over ours | x of one thread | shift over table | load ms | RSS MB |'
echo '|---|---|---|---|---|---|---|---|---|---|---|---|---|'
for model in "$@"; do
    name=$(basename "$model" .gguf)
    for isa in $isas; do
        # A set that this processor lacks is left out.
        "$bench" --quiet --runs 1 --threads 1 --isa "$isa" "$model" >/dev/null 2>&1 || continue
        for count in $threads; do
            measure
        done
    done
done
for model in "$@"; do
    for isa in $isas; do
        "$bench" --quiet --threads 1 --isa "$isa" --layers "$model" 2>/dev/null |
            sed -n "1p; /layer, on/,\$p" || continue
        break # the best set is enough
    done
done
