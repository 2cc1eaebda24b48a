#!/bin/sh
# mutate.sh BUILD [FILE...]: do the tests notice when a check is gone? Every condition that leads to a refusal in
# src/base, src/model and tools/checkpoint (or in the files given) is switched off, one at a time, and a test
# of the readers must fail. Prints a line for each check that no test misses, and the sum; status 1 if there is
# one that tests/mutate.allow does not explain. BUILD is a folder of its own, with a copy of the tree in which
# all checks ask the environment whether they are the one that is off: so there is one build, and what takes
# time is the tests of what is not noticed. Environment: FIRST and LAST, to do a part; JOBS, at a time.
set -eu
if [ $# -lt 1 ]; then
    echo "usage: mutate.sh BUILD [FILE...]" >&2
    exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
work=$(cd "$1" && pwd)
shift
copy=$work/tree
build=$work/build
rm -rf "$copy" "$work/results"
mkdir -p "$copy" "$work/results"
(cd "$root" && tar -cf - CMakeLists.txt include src tools tests models cmake 2>/dev/null) | tar -xf - -C "$copy"
cd "$copy"
if [ $# -eq 0 ]; then
    set -- src/base/reader.c src/model/gguf.c src/model/metadata.c src/model/schema.c src/model/geometry.c \
        src/model/tensors.c src/model/load.c tools/checkpoint/*.c
fi

# FILE:LINE of each `if (...)` whose next statement refuses: a log sentence, container_refuse and their kin.
sites() {
    awk '
        /^ *(} else )?if \(/ { at = FNR; depth = 0; text = "" }
        at { text = text $0; if (FNR - at > 4) at = 0 }
        at && /return (iviti_log_fail|FAIL|fail|container_refuse|out_of_range|[a-z_]*refuse|bad|broken|spoiled|damaged|cut)[ (]/ {
            print FILENAME ":" at; at = 0 }
    ' "$@"
}

# Every site's condition may be switched off: `if (` becomes `if (check_is_on(N) && (` up to its closing
# parenthesis, N its line in the list of sites.
switch_all() {
    awk -v sites="$work/sites" '
        BEGIN { while ((getline line < sites) > 0) { split(line, part, ":"); number[part[1] ":" part[2]] = ++count } }
        {
            key = FILENAME ":" FNR
            rest = $0
            if (key in number) {
                at = index($0, "if (")
                printf "%sif (check_is_on(%d) && (", substr($0, 1, at - 1), number[key]
                rest = substr($0, at + 4)
                depth = 0; quote = ""; open = 1
            }
            out = ""
            for (i = 1; i <= length(rest); i++) {
                c = substr(rest, i, 1)
                if (open && (c == "\"" || c == "\047")) quote = quote == c ? "" : quote == "" ? c : quote
                if (open && quote == "" && c == "(") depth++
                if (open && quote == "" && c == ")" && depth-- == 0) { out = out ")"; open = 0 }
                out = out c
            }
            print out
        }' "$1" >"$1.new"
    mv "$1.new" "$1"
}
sites "$@" >"$work/sites"
for file in "$@"; do
    switch_all "$file"
done
echo 'int check_is_on(int number);' >"$work/check.h"
cat >src/base/mutant.c <<'END'
#include <stdlib.h>
static int off = -1;
int check_is_on(int number)
{
    if (off < 0) {
        const char *told = getenv("CHECK_OFF");
        off = told ? atoi(told) : 0;
    }
    return number != off;
}
END

tests='test_checked test_model_schema test_model_fields test_model_weight_bits test_codebook test_stem test_prune
test_statuses test_model_activation_bits
test_model_values test_model_file test_checkpoint_safetensors test_checkpoint_zip test_checkpoint_npz
test_checkpoint_legacy test_checkpoint_tensors test_checkpoint_pickle test_checkpoint_common failures
test_model_boundaries test_model_damage'
tests=$(echo $tests) # in one line
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS="-O1 -w -include $work/check.h" \
    -DIVITI_SIMD=OFF -DIVITI_BUILD_SHARED=OFF -DIVITI_INSTALL=OFF -DIVITI_SANITIZE="${SANITIZE:-}" >/dev/null
# shellcheck disable=SC2086
cmake --build "$build" --target make_seeds $tests >"$work/log" 2>&1 || {
    tail -30 "$work/log" >&2
    exit 1
}
"$build/tests/fuzz/make_seeds" "$work/seeds" >/dev/null

# try NUMBER FILE: the name of the first test that fails, of the part that the file belongs to, those that fail
# soonest first, to results/NUMBER.
cat >"$work/try" <<END
#!/bin/sh
case \$2 in
src/*) list=\$(echo $tests | tr ' ' '\n' | grep -v checkpoint) ;;
*) list=\$(echo $tests | tr ' ' '\n' | grep -E 'checkpoint|failures') ;;
esac
cd "$copy/tests"
for test in \$list; do
    if ! CHECK_OFF=\$1 IVITI_SOURCE=$copy IVITI_BUILD=$build timeout 600 "$build/tests/\$test" $work/seeds >/dev/null 2>&1; then
        echo "\$test" >"$work/results/\$1"
        exit 0
    fi
done
: >"$work/results/\$1"
END
chmod +x "$work/try"
for file in src/none tools/none; do
    "$work/try" 0 $file
    if [ -s "$work/results/0" ]; then
        echo "$(cat "$work/results/0") fails with all checks on" >&2
        exit 1
    fi
done
awk -F: -v first="${FIRST:-1}" -v last="${LAST:-100000}" 'NR >= first && NR <= last { print NR, $1 }' "$work/sites" |
    xargs -n 2 -P "${JOBS:-$(nproc)}" "$work/try"

number=0 noticed=0 missed=0
while IFS=: read -r file line; do
    number=$((number + 1))
    if [ ! -f "$work/results/$number" ]; then
        continue
    fi
    text=$(sed -n "${line}p" "$root/$file" | sed 's/^ *//')
    if [ -s "$work/results/$number" ]; then
        noticed=$((noticed + 1))
    elif grep -Fqx "$file: $text" "$root/tests/mutate.allow"; then
        echo "$file:$line: not noticed, as tests/mutate.allow explains: $text"
    else
        missed=$((missed + 1))
        echo "$file:$line: not noticed: $text"
    fi
done <"$work/sites"
echo "$noticed checks noticed when switched off, $missed not, of $number"
[ "$missed" -eq 0 ]
