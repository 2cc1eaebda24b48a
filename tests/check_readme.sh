#!/bin/sh
# check_readme.sh SOURCE LIBRARY CC [FLAGS...]: compiles the program of the README as it stands there and runs it.
set -eu
source=$1
library=$2
shift 2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
sed -n '/^```c$/,/^```$/p' "$source/README.md" | sed '1d;$d' >"$folder/hello.c"
cd "$source"
"$@" "$folder/hello.c" -Iinclude "$library" -pthread -o "$folder/hello"
answer=$("$folder/hello")
if [ "$answer" != 1 ]; then
    echo "the README's program says '$answer' of a vertical stroke, not 1" >&2
    exit 1
fi
echo "the README's program says $answer"
