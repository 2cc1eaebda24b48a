/* SPDX-License-Identifier: Apache-2.0
 *
 * Detection of instruction sets, and their names.
 *
 * An instruction set counts only when the operating system saves its registers too: a processor
 * with AVX-512 under a kernel that does not enable it would fault on the first instruction.
 */
#include "base/cpu.h"

#include <string.h>

#ifdef IVITI_HAVE_X86
#include <cpuid.h>
#endif
#if defined(IVITI_HAVE_ARM) && defined(__linux__)
#include <sys/auxv.h>
#endif

static const struct {
    iviti_isa isa;
    const char *name;
} isa_names[] = {
    { IVITI_ISA_BEST, "best" },
    { IVITI_ISA_REF, "ref" },
    { IVITI_ISA_AVX2, "avx2" },
    { IVITI_ISA_AVXVNNI, "avxvnni" },
    { IVITI_ISA_AVX512VNNI, "avx512vnni" },
    { IVITI_ISA_NEON, "neon" },
    { IVITI_ISA_DOTPROD, "dotprod" },
    { IVITI_ISA_I8MM, "i8mm" },
};

#define ISA_NAMES (sizeof isa_names / sizeof isa_names[0])

#ifdef IVITI_HAVE_X86

/* Bits of CPUID and of the extended control register, as the manuals number them. */
#define BIT(n) (1u << (n))
#define LEAF1_ECX_AVX2_NEEDS                                                                       \
    (BIT(20) | BIT(23) | BIT(27) | BIT(28)) /* SSE4.2, POPCNT, OSXSAVE, AVX */
#define LEAF7_EBX_AVX2      BIT(5)
#define LEAF7_EBX_AVX512    (BIT(16) | BIT(17) | BIT(30) | BIT(31)) /* F, DQ, BW, VL */
#define LEAF7_ECX_AVX512    (BIT(1) | BIT(11))                      /* VBMI, VNNI */
#define LEAF7_1_EAX_AVXVNNI BIT(4)
#define XCR0_AVX            (BIT(1) | BIT(2))                     /* XMM, YMM */
#define XCR0_AVX512         (XCR0_AVX | BIT(5) | BIT(6) | BIT(7)) /* masks, ZMM0-15, ZMM16-31 */

static bool has(unsigned value, unsigned bits)
{
    return (value & bits) == bits;
}

static unsigned enabled_registers(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

iviti_isa_set iviti_cpu_detect(void)
{
    iviti_isa_set set = 1u << IVITI_ISA_REF;
    unsigned eax, ebx, ecx, edx;

    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !has(ecx, LEAF1_ECX_AVX2_NEEDS))
        return set;
    const unsigned xcr0 = enabled_registers();
    if (!has(xcr0, XCR0_AVX))
        return set;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !has(ebx, LEAF7_EBX_AVX2))
        return set;
    set |= 1u << IVITI_ISA_AVX2;

    const unsigned subleaves = eax;
    if (has(ebx, LEAF7_EBX_AVX512) && has(ecx, LEAF7_ECX_AVX512) && has(xcr0, XCR0_AVX512))
        set |= 1u << IVITI_ISA_AVX512VNNI;
    if (subleaves >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) &&
        has(eax, LEAF7_1_EAX_AVXVNNI))
        set |= 1u << IVITI_ISA_AVXVNNI;
    return set;
}

#elif defined(IVITI_HAVE_ARM)

/* What the system says of the processor: bits of the auxiliary vector as Linux numbers them. Where
 * there is no such vector, what the compiler was told to expect of it. */
#ifdef __linux__
#define CAP_CRC32   (1ul << 7)
#define CAP_DOTPROD (1ul << 20)
#define CAP2_I8MM   (1ul << 13)

static bool has_dotprod(void)
{
    const unsigned long needs = CAP_CRC32 | CAP_DOTPROD;
    return (getauxval(AT_HWCAP) & needs) == needs;
}

static bool has_i8mm(void)
{
    return (getauxval(AT_HWCAP2) & CAP2_I8MM) != 0;
}
#else
static bool has_dotprod(void)
{
#if defined(__ARM_FEATURE_DOTPROD) && defined(__ARM_FEATURE_CRC32)
    return true;
#else
    return false;
#endif
}

static bool has_i8mm(void)
{
#ifdef __ARM_FEATURE_MATMUL_INT8
    return true;
#else
    return false;
#endif
}
#endif

/* NEON is part of AArch64. Each set contains the one before. */
iviti_isa_set iviti_cpu_detect(void)
{
    iviti_isa_set set = 1u << IVITI_ISA_REF | 1u << IVITI_ISA_NEON;

    if (!has_dotprod())
        return set;
    set |= 1u << IVITI_ISA_DOTPROD;
    if (has_i8mm())
        set |= 1u << IVITI_ISA_I8MM;
    return set;
}

#else

iviti_isa_set iviti_cpu_detect(void)
{
    return 1u << IVITI_ISA_REF;
}

#endif

iviti_isa iviti_isa_best(iviti_isa_set set, iviti_isa cap)
{
    iviti_isa best = IVITI_ISA_REF;
    for (size_t i = 0; i < ISA_NAMES; i++) {
        const iviti_isa isa = isa_names[i].isa;
        if (iviti_isa_in(isa, set) && isa > best && (cap == IVITI_ISA_BEST || isa <= cap))
            best = isa;
    }
    return best;
}

const char *iviti_isa_name(iviti_isa isa)
{
    for (size_t i = 0; i < ISA_NAMES; i++)
        if (isa_names[i].isa == isa)
            return isa_names[i].name;
    return "?";
}

int iviti_isa_from_name(const char *name)
{
    if (!name)
        return -1;
    for (size_t i = 0; i < ISA_NAMES; i++)
        if (strcmp(isa_names[i].name, name) == 0)
            return (int)isa_names[i].isa;
    return -1;
}

int iviti_isa_available(iviti_isa isa)
{
    for (size_t i = 0; i < ISA_NAMES; i++)
        if (isa_names[i].isa == isa)
            return isa == IVITI_ISA_BEST || iviti_isa_in(isa, iviti_cpu_detect());
    return 0;
}
