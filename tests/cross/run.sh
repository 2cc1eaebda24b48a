#!/bin/sh
# run.sh ARCH BUILD [CHECKKERNEL OPTION...]: builds the library for another processor and runs it under an
# emulator. Every kernel must give the bits of its reference there, and every model the logits that it gives
# here. Status 77 and a sentence where the compiler or the emulator is not installed (Debian: packages
# gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user).
#
#   ARCH   has a toolchain file ARCH.cmake beside this script: aarch64
#   BUILD  a build of this project with its tests, for the processor that this runs on
#
# With IVITI_SANITIZE=undefined in the environment the library is built with that sanitizer.
set -eu
if [ $# -lt 2 ] || [ ! -f "$(dirname "$0")/$1.cmake" ]; then
    echo "usage: run.sh aarch64 BUILD [CHECKKERNEL OPTION...]" >&2
    exit 2
fi
arch=$1
build=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
tests=$(dirname "$here")
sanitize=${IVITI_SANITIZE:-}
work=$build/cross-$arch${sanitize:+-$sanitize}
system=/usr/$arch-linux-gnu

for tool in "$arch-linux-gnu-gcc" "qemu-$arch" cmake; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: $tool is not installed"
        exit 77
    fi
done
if [ ! -f "$system/include/stdio.h" ]; then
    echo "skipped: there is no C library for $arch in $system"
    exit 77
fi

# Processors from the oldest on: each must find out by itself what it can run.
case $arch in
aarch64)
    processors='cortex-a53 cortex-a76 max'
    sets='ref neon dotprod i8mm'
    ;;
esac

emulate() {
    processor=$1
    shift
    "qemu-$arch" -cpu "$processor" -L "$system" "$@"
}

cmake -S "$here" -B "$work" -DCMAKE_TOOLCHAIN_FILE="$here/$arch.cmake" -DIVITI_WERROR=ON \
    -DIVITI_SANITIZE="$sanitize" >"$work.log"
cmake --build "$work" --parallel 2 >>"$work.log" || {
    cat "$work.log" >&2
    exit 1
}

if [ -z "$sanitize" ]; then
    "$arch-linux-gnu-gcc" -O2 -c "$tests/float_probe.c" -o "$work/float_probe.o"
    "$tests/check_no_float.sh" "$arch-linux-gnu-objdump" "$work/iviti/libiviti.a" "$work/float_probe.o"
fi

emulate max "$work/checkkernel" "$@"

mkdir -p "$work/models"
"$build/tests/write_models" "$work/models"
set -- "$work"/models/*.gguf
for model in "$tests"/../models/*.gguf; do
    if [ -f "$model" ]; then
        set -- "$@" "$model"
    fi
done
"$build/tests/logits_hash" "$@" >"$work/here.txt"
lines=$(grep -c . "$work/here.txt")

compare() {
    if ! cmp -s "$work/here.txt" "$work/there.txt"; then
        echo "logits differ: $1" >&2
        diff "$work/here.txt" "$work/there.txt" >&2 || true
        exit 1
    fi
    echo "$1: $lines pictures, the same logits as here"
}
for set in $sets; do
    emulate max "$work/logits_hash" --isa "$set" "$@" >"$work/there.txt"
    compare "$set"
done
for processor in $processors; do
    emulate "$processor" "$work/logits_hash" "$@" >"$work/there.txt"
    compare "$processor"
done
emulate max "$work/logits_hash" --threads 2 --batch 3 "$@" >"$work/there.txt"
compare "2 threads, batches of 3"
