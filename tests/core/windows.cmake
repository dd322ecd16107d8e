# For `make windows`: Clang with Debian's headers and libraries of mingw-w64. GCC for Windows does
# not align the stack for AVX vectors.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR AMD64)
set(CMAKE_C_COMPILER clang)
set(CMAKE_CXX_COMPILER clang++)
set(CMAKE_CXX_COMPILER_TARGET x86_64-w64-mingw32)
file(GLOB gcc /usr/lib/gcc/x86_64-w64-mingw32/*-posix)
set(CMAKE_CXX_FLAGS_INIT "-nostdinc++ -isystem ${gcc}/include/c++ -isystem ${gcc}/include/c++/x86_64-w64-mingw32")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-static -fuse-ld=lld -L${gcc} -Wl,-lpthread")
set(CMAKE_SHARED_LINKER_FLAGS_INIT "-static -fuse-ld=lld -L${gcc} -Wl,-lpthread")
set(CMAKE_FIND_ROOT_PATH /usr/x86_64-w64-mingw32)
