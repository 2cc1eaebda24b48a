# A Cortex-M4 without its floating-point unit, by the distribution's embedded compiler. Its stdint.h is the
# compiler's own, by which the inttypes.h of its C library does not see that there are 64-bit integers; and an
# int32_t is a long here, of the same size as the int that formats of numbers name.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR cortex-m4)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_ASM_COMPILER arm-none-eabi-gcc)
set(CMAKE_C_FLAGS_INIT "-mcpu=cortex-m4 -mthumb -mfloat-abi=soft -ffunction-sections -fdata-sections -D__int64_t_defined=1 -Wno-format")
set(CMAKE_ASM_FLAGS_INIT "-mcpu=cortex-m4 -mthumb")
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
