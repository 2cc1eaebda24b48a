#!/bin/sh
# check_terminal.sh SOURCE BUILD: what is for eyes appears on a terminal alone, colours not where NO_COLOR is set,
# and nothing of it in a file or a pipe. script (of bsdutils) is the terminal; status 77 where it is missing.
set -eu
source=$(cd "$1" && pwd)
build=$(cd "$2" && pwd)
command -v script >/dev/null || { echo "skipped: script is not installed" && exit 77; }
script -qc true /dev/null </dev/null >/dev/null 2>&1 || { echo "skipped: no terminal can be made here" && exit 77; }
cd "$source"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
classify="$build/iviti-classify models/digits-vit.gguf"
escape=$(printf '\033')
unset NO_COLOR
export TERM=xterm LC_ALL=C.UTF-8

# holds yes|no WHAT PATTERN FILE
holds() {
    found=no
    ! grep -q "$3" "$folder/$4" || found=yes
    [ "$found" = "$1" ] || { echo "$2: $3 wanted: $1, found: $found" && cat -v "$folder/$4"; exit 1; } >&2
}
on_terminal() { script -qec "$1" /dev/null </dev/null >"$folder/out"; }

on_terminal "$classify tests/pictures/digit-3.png"
holds yes "classes on a terminal" "$escape\[36m█" out
holds yes "the best class on a terminal" "$escape\[1m3$escape\[0m" out
NO_COLOR=1 on_terminal "$classify tests/pictures/digit-3.png"
holds no "NO_COLOR" "$escape" out
holds yes "bars without colour" █ out
NO_COLOR='' on_terminal "$classify tests/pictures/digit-3.png"
holds yes "an empty NO_COLOR" "$escape\[36m" out
TERM=dumb on_terminal "$classify tests/pictures/digit-3.png"
holds no "a dumb terminal" "$escape" out
$classify tests/pictures/digit-3.png >"$folder/out"
holds no "a file" "$escape" out
holds no "a file" █ out

on_terminal "$build/iviti-info absent.gguf" || true
holds yes "a complaint on a terminal" "$escape\[1;31miviti-info:$escape\[0m" out
"$build/iviti-info" absent.gguf 2>"$folder/out" || true
holds no "a complaint in a file" "$escape" out

# Progress: share, rate and time left, on standard error alone, and not with --quiet.
awk -v folder="$source/tests/pictures" \
    'BEGIN { for (i = 0; i < 8000; i++) print folder "/digit-" i % 10 ".png\t" i % 10 }' >"$folder/labels.tsv"
evaluate="$build/iviti-eval models/digits-vit.gguf --threads 1 --images / --labels $folder/labels.tsv"
on_terminal "$evaluate >$folder/results"
holds yes "progress" 'evaluating \[#*\.*\] [0-9]*/8000  *[0-9.]*/s  .* left' out
holds no "results" "$escape\|evaluating" results
on_terminal "$evaluate --quiet >$folder/results"
holds no "--quiet" evaluating out
$evaluate >"$folder/results" 2>"$folder/out"
holds no "progress in a file" . out
echo "terminals see colours, bars and progress; files do not"
