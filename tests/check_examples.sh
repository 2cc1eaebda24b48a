#!/bin/sh
# check_examples.sh SOURCE BUILD [NO_MALLOC]: runs every example of tools/examples with the shipped models and
# compares what it says; each must be shorter than 80 lines. NO_MALLOC is no_malloc.c as a library to preload.
set -eu
source=$(cd "$1" && pwd)
examples=$2/tools
no_malloc=${3:-}
model=$source/models/digits-vit.gguf
cd "$source/tests/pictures"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail() {
    echo "$*" >&2
    exit 1
}

for file in "$source"/tools/examples/*.c; do
    [ "$(wc -l <"$file")" -lt 80 ] || fail "$file has 80 lines or more"
done

"$examples/classify-picture" "$model" large-7.png >"$folder/said"
head -n 1 "$folder/said" | grep -q '%  7$' || fail "classify-picture: $(cat "$folder/said")"
[ "$(wc -l <"$folder/said")" -eq 5 ] || fail "classify-picture does not name five classes"
! "$examples/classify-picture" "$source/README.md" large-7.png 2>"$folder/said" || fail "takes a text for a model"
grep -q IVITI_ERROR_NOT_A_MODEL "$folder/said" || fail "classify-picture does not say what is wrong"

for digit in 0 1 2 3 4 5 6 7 8 9; do
    printf 'digit-%s.png\t%s\n' $digit $digit
done >"$folder/wanted"
"$examples/many-threads" "$model" digit-?.png >"$folder/said"
cmp "$folder/wanted" "$folder/said"

said=$(LD_PRELOAD=$no_malloc "$examples/own-memory" "$model") || fail "own-memory fails: $said"
case $said in "1, in "*) ;; *) fail "own-memory: $said" ;; esac

"$examples/similar-pictures" "$model" large-7.png digit-?.png large-7.png >"$folder/said"
[ "$(sed -n 1p "$folder/said")" = " 1.000  large-7.png" ] || fail "a picture is not most like itself"
sed -n 2p "$folder/said" | grep -q 'digit-7.png$' || fail "similar-pictures: $(cat "$folder/said")"
[ "$(wc -l <"$folder/said")" -eq 11 ] || fail "similar-pictures leaves some out"

said=$("$examples/camera-loop" "$model" 20 1000)
case $said in "1: 20 frames, "*) ;; *) fail "camera-loop: $said" ;; esac

mkdir "$folder/drawn"
"$examples/draw-digits" "$folder/drawn" 2
[ "$(wc -l <"$folder/drawn/labels.tsv")" -eq 20 ] || fail "draw-digits does not draw twenty digits"
echo "all examples say what they should"
