#!/bin/sh
# run.sh BUILD: builds the library freestanding for a Cortex-M4 without floating point, checks that it asks of
# a C library nothing but the functions of memory and strings, and runs digits-vit on an emulated board: the
# logits of tests/golden/logits.txt. Status 77 and a sentence where the compiler or the emulator is not
# installed (Debian: gcc-arm-none-eabi, libnewlib-arm-none-eabi, qemu-system-arm).
set -eu
if [ $# -ne 1 ]; then
    echo "usage: run.sh BUILD" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
tests=$(cd "$here/../.." && pwd)
work=$(cd "$1" && pwd)/cross-freestanding

for tool in arm-none-eabi-gcc qemu-system-arm cmake; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: $tool is not installed"
        exit 77
    fi
done
if ! echo '#include <string.h>' | arm-none-eabi-gcc -E - >/dev/null 2>&1; then
    echo "skipped: there is no C library for arm-none-eabi"
    exit 77
fi

mkdir -p "$work"
{
    cmake -S "$here" -B "$work" -DCMAKE_TOOLCHAIN_FILE="$here/arm-none-eabi.cmake" -DIVITI_WERROR=ON \
        -DCMAKE_BUILD_TYPE=MinSizeRel
    cmake --build "$work" --parallel 2
} >"$work.log" 2>&1 || {
    cat "$work.log" >&2
    exit 1
}

library=$work/iviti/libiviti.a
arm-none-eabi-nm -u "$library" | awk 'NF == 2 && $1 == "U" { print $2 }' | sort -u >"$work/needed.txt"
arm-none-eabi-nm --defined-only "$library" | awk 'NF == 3 { print $3 }' | sort -u >"$work/defined.txt"
foreign=$(LC_ALL=C comm -23 "$work/needed.txt" "$work/defined.txt" |
    grep -vxE 'mem(cpy|move|set|cmp)|str(len|cmp|ncmp)|__aeabi_(u?idiv(mod)?|u?ldivmod|lmul|llsl|llsr|lasr|u?lcmp|mem[a-z]+[48]?)|__clzsi2' || true)
if [ -n "$foreign" ]; then
    echo "the freestanding library asks for more than functions of memory and strings:" >&2
    echo "$foreign" >&2
    exit 1
fi
arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -mfloat-abi=soft -O2 -c "$tests/float_probe.c" -o "$work/float_probe.o"
"$tests/check_no_float.sh" arm-none-eabi-objdump "$library" "$work/float_probe.o"
arm-none-eabi-size "$work/firmware"

qemu-system-arm -M mps2-an386 -nographic -monitor none -serial none \
    -semihosting-config enable=on,target=native -kernel "$work/firmware" >"$work/there.txt" 2>&1 || {
    cat "$work/there.txt" >&2
    exit 1
}
grep '^digits-vit.gguf ' "$tests/golden/logits.txt" >"$work/here.txt"
if ! cmp -s "$work/here.txt" "$work/there.txt"; then
    diff "$work/here.txt" "$work/there.txt" >&2
    exit 1
fi
echo "Cortex-M4: $(grep -c . "$work/there.txt") pictures, the logits of the table"
