#!/bin/sh
# check_no_float.sh OBJDUMP LIBRARY PROBE: disassembles the library and fails if it holds an instruction that
# computes or converts floating-point numbers. Moves and bitwise operations of vector registers are no
# arithmetic. PROBE is an object that does hold some: the check must see it, or it would prove nothing.
set -eu
objdump=$1
library=$2
probe=$3

# x86: x87; scalar and packed arithmetic, comparison, conversion and rounding, with or without the v of AVX.
x86='f(i?add|i?subr?|i?mul|i?divr?|sqrt|i?ld|i?st|u?com|abs|chs|rndint|scale|sin|cos|prem|yl2x)[a-z0-9]*'
x86="$x86"'|v?(add|sub|mul|div|sqrt|min|max|cmp|cmp[a-z]+|u?comi|round|rcp(14)?|rsqrt(14)?|rndscale|reduce|range|getexp|getmant|scalef|fixupimm|fpclass|h?addsub|hadd|hsub|dp)(ss|sd|ps|pd|sh|ph)[xyz]?'
x86="$x86"'|vf(n?m)(add|sub|addsub|subadd)[0-9]+(ss|sd|ps|pd|sh|ph)'
x86="$x86"'|v?cvtt?[a-z0-9]+2[a-z0-9]+|vdpbf16ps'
# AArch64: everything in the f group that computes, and conversions.
arm='f(n?m(add|sub)|n?mul|add|addp|sub|mla|mls|mulx|div|sqrt|abd|abs|neg|max|min|maxnm|minnm|maxv|minv|cmp|cmpe|ccmp|cm[a-z]+|rint[a-z0-9]*|recp[a-z]|rsqrt[a-z]|cvt[a-z0-9]*)|[su]cvtf'

# Mnemonics of a file, one a line, with how often each occurs.
floats() {
    "$objdump" -d --no-show-raw-insn "$1" |
        sed -n 's/^ *[0-9a-f]*:[[:space:]]*\(\(rep\|repz\|repnz\|lock\|notrack\|bnd\|data16\) *\)*\([a-z][a-z0-9.]*\).*/\3/p' |
        grep -E -x "($x86|$arm)" | sort | uniq -c || true
}

if [ -z "$(floats "$probe")" ]; then
    echo "the check does not see floating point in $probe, which is full of it" >&2
    exit 1
fi
instructions=$("$objdump" -d --no-show-raw-insn "$library" | grep -c '^ *[0-9a-f]*:' || true)
if [ "$instructions" -lt 1000 ]; then
    echo "$library: only $instructions instructions could be disassembled" >&2
    exit 1
fi
found=$(floats "$library")
if [ -n "$found" ]; then
    echo "$library holds floating-point instructions:" >&2
    echo "$found" >&2
    exit 1
fi
echo "$library: no floating-point arithmetic or conversion in $instructions instructions"
