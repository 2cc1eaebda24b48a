#!/bin/sh
# mutate.sh BUILD [FILE...]: do the tests notice when a check is gone? Every condition that leads to a refusal in
# src/base, src/model and tools/checkpoint (or in the files given) is switched off, one at a time, in a copy of
# the tree; the tests of the readers are rebuilt and run, and one of them must fail. Prints a line for each check
# that no test misses, and the sum; status 1 if there is one that tests/mutate.allow does not explain. A long
# job: about ten seconds a check. BUILD is a folder of its own. Environment: FIRST and LAST, to do a part.
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
rm -rf "$copy"
mkdir -p "$copy"
(cd "$root" && tar -cf - CMakeLists.txt include src tools tests models cmake 2>/dev/null) | tar -xf - -C "$copy"
cd "$copy"
if [ $# -eq 0 ]; then
    set -- src/base/reader.c src/model/gguf.c src/model/metadata.c src/model/geometry.c src/model/tensors.c \
        src/model/load.c tools/checkpoint/*.c
fi

# FILE:LINE of each `if (...)` whose next statement refuses: a log sentence, container_refuse and their kin.
sites() {
    awk '
        /^ *(} else )?if \(/ { at = FNR; depth = 0; text = "" }
        at { text = text $0; if (FNR - at > 4) at = 0 }
        at && /return (iviti_log_fail|FAIL|fail|refuse|container_refuse|out_of_range|[a-z_]*refuse|bad)[ (]/ {
            print FILENAME ":" at; at = 0 }
    ' "$@"
}

# Switches the condition of the `if` at a line off: `if (` becomes `if (0 && (` up to its closing parenthesis.
switch_off() {
    awk -v line="$2" '
        FNR < line || done { print; next }
        FNR == line { rest = substr($0, index($0, "if (") + 4); printf "%sif (0 && (", substr($0, 1, index($0, "if (") - 1) }
        FNR > line { rest = $0 }
        {
            out = ""
            for (i = 1; i <= length(rest); i++) {
                c = substr(rest, i, 1)
                if (c == "\"") { quoted = !quoted }
                if (!quoted && c == "(") depth++
                if (!quoted && c == ")" && depth-- == 0 && !done) { out = out ")"; done = 1 }
                out = out c
            }
            print out
        }' "$1" >"$1.new"
    mv "$1.new" "$1"
}

tests='test_checked test_model_file test_model_fields test_model_values test_model_schema test_model_weight_bits
test_model_activation_bits test_model_boundaries test_checkpoint_common test_checkpoint_safetensors
test_checkpoint_zip test_checkpoint_npz test_checkpoint_pickle test_checkpoint_legacy test_checkpoint_tensors'
present=
for test in $tests; do
    if [ -f "tests/unit/$test.c" ]; then
        present="$present $test"
    fi
done
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS='-O1 -w' -DIVITI_SIMD=OFF -DIVITI_BUILD_SHARED=OFF \
    -DIVITI_INSTALL=OFF -DIVITI_SANITIZE="${SANITIZE:-}" >/dev/null
# shellcheck disable=SC2086
cmake --build "$build" --target $present >"$work/log" 2>&1 || {
    tail -30 "$work/log" >&2
    exit 1
}

# The tests of the part that the file belongs to, those that fail soonest first.
tests_of() {
    case $1 in
    src/*) echo "$present" | tr ' ' '\n' | grep -E 'checked|model' ;;
    *) echo "$present" | tr ' ' '\n' | grep checkpoint ;;
    esac
}

number=0 noticed=0 missed=0
sites "$@" >"$work/sites"
while IFS=: read -r file line; do
    number=$((number + 1))
    if [ "$number" -lt "${FIRST:-1}" ] || [ "$number" -gt "${LAST:-100000}" ]; then
        continue
    fi
    cp "$file" "$work/kept"
    switch_off "$file" "$line"
    list=$(tests_of "$file")
    found=
    # shellcheck disable=SC2086
    if cmake --build "$build" --target $list >"$work/log" 2>&1; then
        for test in $list; do
            if ! (cd tests && IVITI_SOURCE=$copy IVITI_BUILD=$build timeout 120 "$build/tests/$test" >"$work/log" 2>&1); then
                found=$test
                break
            fi
        done
        if [ -n "$found" ]; then
            noticed=$((noticed + 1))
        else
            text=$(sed -n "${line}p" "$work/kept" | sed 's/^ *//')
            if grep -Fqx "$file: $text" "$root/tests/mutate.allow"; then
                echo "$file:$line: not noticed, as tests/mutate.allow explains: $text"
            else
                missed=$((missed + 1))
                echo "$file:$line: not noticed: $text"
            fi
        fi
    else
        echo "$file:$line: does not compile without: $(sed -n "${line}p" "$work/kept" | sed 's/^ *//')"
    fi
    cp "$work/kept" "$file"
done <"$work/sites"
echo "$noticed checks noticed when switched off, $missed not, of $(grep -c . "$work/sites")"
[ "$missed" -eq 0 ]
