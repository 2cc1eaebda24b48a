#!/bin/sh
# check_logits.sh FILE NAME: compares the lines of logits_hash in FILE with tests/golden/logits.txt; NAME says
# who computed them.
#
# check_logits.sh BUILD: computes them here, with every instruction set that there is, with threads and
# batches, and compares. With --write as second argument the table is written anew instead: after the models
# have been made anew, and only then, its lines may change.
set -eu
export LC_ALL=C # the order of the files
tests=$(cd "$(dirname "$0")" && pwd)
table=$tests/golden/logits.txt

compare() {
    if ! grep -v '^#' "$table" | cmp -s - "$1"; then
        echo "$2: other logits than tests/golden/logits.txt has" >&2
        grep -v '^#' "$table" | diff - "$1" >&2 || true
        exit 1
    fi
    echo "$2: $(grep -c . "$1") pictures, the logits of the table"
}

if [ -f "$1" ]; then
    compare "$1" "$2"
    exit 0
fi
build=$(cd "$1" && pwd)
work=$build/check-logits
mkdir -p "$work"
rm -f "$work"/*.gguf
"$build/tests/write_models" "$work"
hash() {
    "$build/tests/logits_hash" "$@" "$work"/*.gguf "$tests"/../models/*.gguf
}
if [ "${2:-}" = --write ]; then
    {
        echo '# model, picture and hash of all its logits, as tests/logits_hash.c prints them: the same on every'
        echo '# processor. The pictures and the first models are made by program. Written by check_logits.sh.'
        hash --isa ref
    } >"$table"
    exit 0
fi
for set in ref avx2 avxvnni avx512vnni neon dotprod i8mm; do
    if hash --isa "$set" >"$work/here.txt" 2>"$work/errors.txt"; then
        compare "$work/here.txt" "$set"
    elif grep -q IVITI_ERROR_UNSUPPORTED "$work/errors.txt"; then
        echo "$set: not here"
    else
        cat "$work/errors.txt" >&2
        exit 1
    fi
done
hash --threads 3 --batch 4 >"$work/here.txt"
compare "$work/here.txt" "3 threads, batches of 4"
