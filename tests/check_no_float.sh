#!/bin/sh
# check_no_float.sh OBJDUMP LIBRARY PROBE: disassembles the library and fails if it holds an instruction that
# computes or converts floating-point numbers, or calls a function of the compiler that does, as processors
# without such instructions do. Moves and bitwise operations of vector registers are no arithmetic. PROBE is an object that does hold some: the check must see it, or it would prove nothing.
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

# 32-bit Arm and RISC-V name the type after a point.
dotted='v(add|sub|n?mul|div|n?ml[as]|fn?m[as]|sqrt|cmpe?|cvt[a-z]?|neg|abs|max|min|rint[a-z])(eq|ne|..)?\.(f[0-9]+|[su][0-9]+\.f[0-9]+|f[0-9]+\.[su][0-9]+)'
dotted="$dotted"'|f(n?m(add|sub)|add|sub|mul|div|sqrt|min|max|eq|l[te]|class|cvt)\.[a-z0-9.]+'
# System z: the binary formats of 32, 64 and 128 bits (e, d, x), and conversions.
systemz='((a|s|m|me|md|mx|d|c|k|sq|ma|ms|maa|tc|fi|l[cnpt])[edx]|mee|mae|mse)br?a?|c[edx]l?[fg]br?a?|cl?[fg][edx]br?a?|l[dx][ed]br?|l[ed][dx]bra?'
# Functions of the compiler, as relocations name them: __aeabi_dmul, __muldf3, __floatsisf.
calls='__aeabi_([cdf][a-z0-9]*|u?[il]2[df]|h2f[a-z_]*)|__((add|sub|mul|div|neg)[sdtx]f[23]|pow[sdtx]fi[0-9]|(float|floatun)[sdt]i[sdtx]f|fix(uns)?[sdtx]f[sdt]i|(extend|trunc)[hsdtx]f[hsdtx]f2|(eq|ne|lt|le|gt|ge|cmp|unord)[sdtx]f2)'

# Mnemonics and calls in a file, one a line, with how often each occurs.
floats() {
    {
        "$objdump" -d --no-show-raw-insn "$1" |
            sed -n 's/^ *[0-9a-f]*:[[:space:]]*\(\(rep\|repz\|repnz\|lock\|notrack\|bnd\|data16\) *\)*\([a-z][a-z0-9.]*\).*/\3/p' |
            grep -E -x "($x86|$arm|$dotted|$systemz)"
        "$objdump" -r "$1" | awk '{ print $3 }' | sed 's/[+-]0x.*//' | grep -E -x "($calls)"
    } | sort | uniq -c || true
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
