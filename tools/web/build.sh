#!/bin/sh
# build.sh [FOLDER]: compiles the library to WebAssembly with Emscripten (Debian: package emscripten) and makes
# of it one page without any other file, FOLDER/iviti.html; FOLDER is build-web where it is not given.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
folder=${1:-$root/build-web}
mkdir -p "$folder"
command -v emcc >/dev/null || { echo "emcc is not installed: apt-get install emscripten" >&2 && exit 77; }

# No threads, no files, no JavaScript of Emscripten's: a module, and what bridge.c exports.
emcc -O3 -msimd128 -std=c11 -DNDEBUG -fvisibility=hidden -Wall -Wextra -Werror -I"$root/include" -I"$root/src" \
    "$root"/src/*/*.c "$root"/src/kernels/ref/*.c "$here/bridge.c" --no-entry -sSTANDALONE_WASM \
    -sALLOW_MEMORY_GROWTH -o "$folder/iviti.wasm"

# Each line of page.html that holds @NAME@ gets the contents of the file NAME in its place.
mkdir -p "$folder/parts"
base64 -w 0 "$folder/iviti.wasm" >"$folder/parts/engine"
for model in digits-vit cifar10-swin; do
    base64 -w 0 "$root/models/$model.gguf" >"$folder/parts/$model"
done
cat "$here/page.js" >"$folder/parts/script"
while IFS= read -r line; do
    case $line in
    *@*@*)
        name=${line#*@}
        name=${name%%@*}
        printf '%s' "${line%%@*}"
        cat "$folder/parts/$name"
        printf '%s\n' "${line##*@}"
        ;;
    *) printf '%s\n' "$line" ;;
    esac
done <"$here/page.html" >"$folder/iviti.html"
rm -r "$folder/parts"
echo "$folder/iviti.html: $(wc -c <"$folder/iviti.html") bytes, of which the engine is $(wc -c <"$folder/iviti.wasm") before coding"
