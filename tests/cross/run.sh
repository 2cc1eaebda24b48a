#!/bin/sh
# run.sh ARCH BUILD [CHECKKERNEL OPTION...]: builds the library and its tests for another processor and runs
# them there, under an emulator where it has to be. Every kernel must give the bits of its reference, every
# unit test must pass, and every model must give the logits of tests/golden/logits.txt. Status 77 and a
# sentence where the compiler or the emulator is not installed (Debian: packages gcc-TRIPLE,
# libc6-dev-PROCESSOR-cross and qemu-user).
#
#   ARCH   aarch64, riscv64, arm (32 bits, no floating-point unit), s390x (big-endian) or i386
#   BUILD  a build of this project with its tests, for the processor that this runs on; the seeds of its
#          fuzzers are made (ctest does that; or BUILD/tests/fuzz/make_seeds BUILD/tests/fuzz/seeds)
#
# With IVITI_SANITIZE=undefined in the environment the library is built with that sanitizer.
set -eu
export LC_ALL=C # the order of the files
if [ $# -lt 2 ] || [ ! -f "$(dirname "$0")/$1.cmake" ]; then
    echo "usage: run.sh aarch64|riscv64|arm|s390x|i386 BUILD [CHECKKERNEL OPTION...]" >&2
    exit 2
fi
arch=$1
build=$(cd "$2" && pwd)
shift 2
here=$(cd "$(dirname "$0")" && pwd)
tests=$(dirname "$here")
sanitize=${IVITI_SANITIZE:-}
work=$build/cross-$arch${sanitize:+-$sanitize}

# Processors from the oldest on: each must find out by itself what it can run.
triple=$arch-linux-gnu
sets=ref
case $arch in
aarch64)
    processors='cortex-a53 cortex-a76 max'
    sets='ref neon dotprod i8mm'
    ;;
riscv64) processors='rv64' ;;
arm)
    triple=arm-linux-gnueabi
    processors='arm926'
    ;;
s390x) processors='z900 max' ;;
i386)
    triple=i686-linux-gnu
    processors='pentium3'
    ;;
esac

for tool in "$triple-gcc" "qemu-$arch" cmake; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: $tool is not installed"
        exit 77
    fi
done
if [ ! -f "/usr/$triple/include/stdio.h" ]; then
    echo "skipped: there is no C library for $arch in /usr/$triple"
    exit 77
fi

emulate() {
    processor=$1
    shift
    "qemu-$arch" -cpu "$processor" "$@"
}

cmake -S "$here" -B "$work" -DCMAKE_TOOLCHAIN_FILE="$here/$arch.cmake" -DIVITI_WERROR=ON \
    -DIVITI_SANITIZE="$sanitize" >"$work.log"
cmake --build "$work" --parallel 2 >>"$work.log" 2>&1 || {
    cat "$work.log" >&2
    exit 1
}

if [ -z "$sanitize" ]; then
    flags=
    if [ "$arch" = arm ]; then
        flags='-march=armv5te -mfloat-abi=soft'
    fi
    # shellcheck disable=SC2086
    "$triple-gcc" $flags -O2 -c "$tests/float_probe.c" -o "$work/float_probe.o"
    "$tests/check_no_float.sh" "$triple-objdump" "$work/iviti/libiviti.a" "$work/float_probe.o"
fi

best=${processors##* }
if [ "$sets" != ref ]; then
    emulate "$best" "$work/checkkernel" "$@"
fi
for test in "$work"/test_*; do
    printf '%s: ' "${test##*/}"
    (cd "$tests" && emulate "$best" "$test")
done

mkdir -p "$work/models"
"$build/tests/write_models" "$work/models"
for harness in model api; do
    printf 'fuzz_%s: ' "$harness"
    emulate "$best" "$work/fuzz_$harness" --flips 5 "$build/tests/fuzz/seeds/$harness"
done

compare() {
    "$tests/check_logits.sh" "$work/there.txt" "$1"
}
set -- "$work"/models/*.gguf "$tests"/../models/*.gguf
for set in $sets; do
    emulate "$best" "$work/logits_hash" --isa "$set" "$@" >"$work/there.txt"
    compare "$set"
done
for processor in $processors; do
    emulate "$processor" "$work/logits_hash" "$@" >"$work/there.txt"
    compare "$processor"
done
emulate "$best" "$work/logits_hash" --threads 2 --batch 3 "$@" >"$work/there.txt"
compare "2 threads, batches of 3"
