#!/bin/sh
# run.sh BUILD SECONDS [NAME...]: fuzzes with every harness in turn, or with those named (model, pickle, ...),
# SECONDS each, and prints a line for each: executions, CPU time, edges reached of those there are, files in
# the corpus, findings. Status 1 if there is a finding; its input is then in BUILD/fuzz/NAME/.
#
#   BUILD   a folder; configured here for clang's libFuzzer with AddressSanitizer and UBSan if it is none yet
#
# Corpora grow in BUILD/fuzz/NAME/corpus and are used again; they begin with the seeds that make_seeds makes
# and with tests/fuzz/corpus. Environment: FUZZ_OPTIONS, more options for libFuzzer;
# NO_BUILD, not empty: the harnesses are built.
set -eu
if [ $# -lt 2 ]; then
    echo "usage: run.sh BUILD SECONDS [NAME...]" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
build=$(cd "$1" && pwd)
seconds=$2
shift 2

if [ ! -f "$build/CMakeCache.txt" ]; then
    cmake -S "$here/../.." -B "$build" -G Ninja -DIVITI_FUZZ=ON -DCMAKE_C_COMPILER=clang \
        -DCMAKE_BUILD_TYPE=RelWithDebInfo >/dev/null
fi
if [ $# -eq 0 ]; then
    for harness in "$here"/fuzz_*.c; do
        name=$(basename "$harness" .c)
        set -- "$@" "${name#fuzz_}"
    done
fi
targets=make_seeds
for name; do
    targets="$targets fuzz_$name"
done
if [ -z "${NO_BUILD:-}" ]; then
    # shellcheck disable=SC2086
    cmake --build "$build" --target $targets >"$build/fuzz-build.log" || {
        cat "$build/fuzz-build.log" >&2
        exit 1
    }
fi
"$build/tests/fuzz/make_seeds" "$build/fuzz-seeds"

# Seconds of CPU that the children of this shell have used, to $used. (In a subshell there would be none.)
cpu() {
    times >"$build/fuzz/times"
    used=$(tail -1 "$build/fuzz/times" | tr 'ms' '  ' | awk '{ printf "%d\n", $1 * 60 + $2 + $3 * 60 + $4 }')
}

mkdir -p "$build/fuzz"
status=0
for name; do
    cpu
    before=$used
    work=$build/fuzz/$name
    log=$work/log
    mkdir -p "$work/corpus" "$work/findings"
    dictionary=
    if [ -f "$build/fuzz-seeds/$name.dict" ]; then
        dictionary=-dict=$build/fuzz-seeds/$name.dict
    fi
    set -- "$work/corpus" "$build/fuzz-seeds/$name"
    if [ -d "$here/corpus/$name" ]; then
        set -- "$@" "$here/corpus/$name"
    fi
    # shellcheck disable=SC2086
    "$build/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -max_len=32768 -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="$work/findings/" $dictionary ${FUZZ_OPTIONS:-} "$@" \
        >"$log" 2>&1 || status=1
    edges=$(grep -o ' cov: [0-9]*' "$log" | tail -1 | tr -dc 0-9)
    all=$(grep -o '([0-9]* inline 8-bit counters)' "$log" | head -1 | tr -cd '0-9 ' | cut -d' ' -f1)
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    cpu
    echo "$name: ${executions:-?} executions in $((used - before)) s of CPU ($seconds s by the clock)," \
        "${edges:-?} of ${all:-?} edges, corpus of $(find "$work/corpus" -type f | wc -l), $(find "$work/findings" -type f | wc -l) findings"
done
exit $status
