#!/bin/sh
# run.sh SOURCE BUILD CMAKE: installs BUILD into a folder of its own, moves that folder, and builds the same
# program against it in every way that the README names: find_package, pkg-config, add_subdirectory, each in C
# and in C++, linked with the shared and with the static library. Each must run and give the same answer.
# Status 77 and a sentence where there is no C++ compiler or no pkg-config.
set -eu
source=$(cd "$1" && pwd)
build=$(cd "$2" && pwd)
cmake=$3
here=$source/tests/consumer
CC=${CC:-cc}
CXX=${CXX:-c++}
export CC CXX
for tool in "$CC" "$CXX" pkg-config; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: $tool is not installed"
        exit 77
    fi
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

DESTDIR= "$cmake" --install "$build" --prefix "$folder/first" >"$folder/log"
mv "$folder/first" "$folder/moved place" # what is installed must not remember where
root="$folder/moved place"
libraries=$(dirname "$(find "$root" -name libiviti.a)")
model="$root/share/iviti/models/digits-vit.gguf"
runs=0

# answer PROGRAM: it must say the version and the digit of an upright stroke.
answer() {
    said=$(LD_LIBRARY_PATH="$libraries" "$1" "$model") || { echo "$1 fails" >&2 && exit 1; }
    case $said in
    [0-9]*.[0-9]*.[0-9]*' 1') runs=$((runs + 1)) ;;
    *) echo "$1 says '$said'" >&2 && exit 1 ;;
    esac
}

# quietly COMMAND...: shows what it printed only where it fails.
quietly() {
    "$@" >"$folder/log" 2>&1 || { cat "$folder/log" >&2 && echo "failed: $*" >&2 && exit 1; }
}

echo "find_package"
quietly "$cmake" -S "$here/find_package" -B "$folder/found" -DCMAKE_PREFIX_PATH="$root" -DWANTED=0.1
quietly "$cmake" --build "$folder/found"
for program in default_c static_c default_cpp static_cpp; do
    answer "$folder/found/$program"
done
if "$cmake" -S "$here/find_package" -B "$folder/future" -DCMAKE_PREFIX_PATH="$root" -DWANTED=0.2 >"$folder/log" 2>&1; then
    echo "find_package takes this version for the next minor one" >&2
    exit 1
fi

echo "the README's program, in the README's project"
mkdir "$folder/readme"
sed -n '/^```cmake$/,/^```$/p' "$source/README.md" | sed '1d;$d' >"$folder/readme/CMakeLists.txt"
sed -n '/^```c$/,/^```$/p' "$source/README.md" | sed '1d;$d' >"$folder/readme/hello.c"
quietly "$cmake" -S "$folder/readme" -B "$folder/readme/build" -DCMAKE_PREFIX_PATH="$root"
quietly "$cmake" --build "$folder/readme/build"
[ "$(cd "$source" && LD_LIBRARY_PATH="$libraries" "$folder/readme/build/hello")" = 1 ]

echo "pkg-config"
export PKG_CONFIG_PATH="$libraries/pkgconfig"
built() {
    quietly sh -c "$1 -Wall -Wextra -Werror '$here/program.$2' $(pkg-config --cflags iviti) -o '$folder/$3' $4"
    answer "$folder/$3"
}
built "$CC -std=c99" c shared_c "$(pkg-config --libs iviti)"
built "$CXX -std=c++11" cpp shared_cpp "$(pkg-config --libs iviti)"
for example in "$root"/share/doc/iviti/examples/*.c; do
    quietly sh -c "$CC '$example' $(pkg-config --cflags --libs iviti) -I/usr/include/stb -lm -pthread -o '$folder/example'"
done
LD_LIBRARY_PATH="$libraries" "$folder/example" "$model" "$source/tests/pictures/digit-4.png" \
    "$source"/tests/pictures/digit-?.png | sed -n 1p | grep -q 'digit-4.png$'
static=$(pkg-config --libs --static iviti | sed 's/-liviti/-l:libiviti.a/')
built "$CC -std=c11" c static_c "$static"
built "$CXX -std=c++17" cpp static_cpp "$static"
if [ -f "$libraries/libiviti.so" ] && ! LD_LIBRARY_PATH="$libraries" ldd "$folder/shared_c" | grep -q "$libraries/libiviti.so"; then
    echo "pkg-config's program does not use the shared library" >&2
    exit 1
fi

echo "add_subdirectory"
for shared in OFF ON; do
    quietly "$cmake" -S "$here/subdirectory" -B "$folder/inside-$shared" -DIVITI_SOURCE="$source" \
        -DBUILD_SHARED_LIBS=$shared -DCMAKE_C_COMPILER_LAUNCHER="${LAUNCHER:-}"
    quietly "$cmake" --build "$folder/inside-$shared" --parallel 2
    answer "$folder/inside-$shared/default_c"
    answer "$folder/inside-$shared/default_cpp"
done

if [ -x "$root/bin/iviti-classify" ]; then
    echo "the tools, where they are installed"
    "$root/bin/iviti-classify" -k 1 "$model" "$source/tests/pictures/digit-4.png" | grep -q '% *4$'
fi
echo "$runs programs built and run"
