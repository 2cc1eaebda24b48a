#!/bin/sh
# check_hardening.sh READELF PROGRAM...: each program can be loaded anywhere, its tables are read-only before it
# starts, its stack holds no code, and its stack frames and copies are checked.
set -eu
readelf=$1
shift
for program; do
    {
        "$readelf" -hlW "$program"
        "$readelf" -dW "$program"
        "$readelf" --dyn-syms -W "$program"
    } >"$program.elf.txt"
    for sign in 'Type: *DYN' GNU_RELRO 'BIND_NOW|Flags:.* NOW' 'GNU_STACK .* RW ' __stack_chk_fail \
        '__(mem|str|v?s?n?printf|fread|read)[a-z]*_chk'; do
        grep -Eq "$sign" "$program.elf.txt" || {
            echo "$program: no $sign" >&2
            exit 1
        }
    done
    rm -f "$program.elf.txt"
done
echo "$# programs: PIE, RELRO, NOW, no executable stack, stack protector, fortified"
