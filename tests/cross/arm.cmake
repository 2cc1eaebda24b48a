# 32-bit Arm without a floating-point unit: any float would be a call of a library function.
set(TRIPLE arm-linux-gnueabi)
set(CMAKE_SYSTEM_PROCESSOR armv5te)
set(CMAKE_C_FLAGS_INIT "-march=armv5te -mfloat-abi=soft")
include(${CMAKE_CURRENT_LIST_DIR}/debian.cmake)
