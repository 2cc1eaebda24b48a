/* SPDX-License-Identifier: Apache-2.0
 *
 * Start of a Cortex-M, and words to the debugger or the emulator (semihosting).
 */
#include "device.h"

#include <stdint.h>

#define SYS_WRITE0 0x04
#define SYS_EXIT   0x18

#define EXIT_DONE  0x20026 /* ADP_Stopped_ApplicationExit */
#define EXIT_FAULT 0x20023 /* ADP_Stopped_RunTimeErrorUnknown */

/* firmware.ld */
extern uint32_t data_begin[], data_end[], data_in_flash[], bss_begin[], bss_end[], stack_top[];

int main(void);
_Noreturn void device_reset(void);
_Noreturn void device_fault(void);

static void ask_host(uint32_t what, const void *argument)
{
    register uint32_t r0 __asm__("r0") = what;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

void device_print(const char *text)
{
    ask_host(SYS_WRITE0, text);
}

static _Noreturn void leave(uint32_t reason)
{
    for (;;)
        ask_host(SYS_EXIT, (const void *)(uintptr_t)reason);
}

_Noreturn void device_fault(void)
{
    device_print("fault\n");
    leave(EXIT_FAULT);
}

_Noreturn void device_reset(void)
{
    for (uint32_t *to = data_begin, *from = data_in_flash; to < data_end;)
        *to++ = *from++;
    for (uint32_t *to = bss_begin; to < bss_end;)
        *to++ = 0;
    leave(main() == 0 ? EXIT_DONE : EXIT_FAULT);
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    stack_top,
    (const void *)device_reset,
    (const void *)device_fault, /* NMI */
    (const void *)device_fault, /* hard fault */
    (const void *)device_fault, /* memory management */
    (const void *)device_fault, /* bus fault */
    (const void *)device_fault, /* usage fault */
};
