# The target arm64 macOS, from Linux: scripts/metal_cross.py makes the folder `prefix` first (compilers, headers, names of
# libraries). No SDK: a proof that the program compiles and links, not a way to ship it.
set(CMAKE_SYSTEM_NAME Darwin)
set(CMAKE_SYSTEM_PROCESSOR arm64)
set(prefix ${CMAKE_CURRENT_LIST_DIR}/../../build/metal-cross-prefix)
set(CMAKE_C_COMPILER ${prefix}/bin/cc)
set(CMAKE_CXX_COMPILER ${prefix}/bin/c++)
set(CMAKE_AR ${prefix}/bin/ar CACHE FILEPATH "")
set(CMAKE_RANLIB ${prefix}/bin/ranlib CACHE FILEPATH "")
set(CMAKE_INSTALL_NAME_TOOL ${prefix}/bin/none CACHE FILEPATH "")
# CMake's own questions to the compiler are compiled and not linked: zig would build its libc++ first.
set(CMAKE_CXX_COMPILER_TARGET aarch64-macos.13.0)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_OSX_SYSROOT "" CACHE STRING "")
set(CMAKE_OSX_ARCHITECTURES "" CACHE STRING "")
set(CMAKE_OSX_DEPLOYMENT_TARGET "" CACHE STRING "")
# Nothing of this machine's: neither its headers nor its libraries.
set(CMAKE_FIND_ROOT_PATH ${prefix})
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
