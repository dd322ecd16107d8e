# For `make musl` and `make macos`: Clang as the package ziglang brings it, with the C and C++ libraries of
# musl and the C++ library and system stubs of macOS. LRNORM_ZIG_TARGET is one of Zig's targets.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES LRNORM_ZIG_TARGET)
string(REGEX MATCH "^[^-]+" CMAKE_SYSTEM_PROCESSOR "${LRNORM_ZIG_TARGET}")
if(LRNORM_ZIG_TARGET MATCHES "macos")
  set(CMAKE_SYSTEM_NAME Darwin)
  set(CMAKE_INSTALL_NAME_TOOL true)  # CMake wants one; nothing is installed
else()
  set(CMAKE_SYSTEM_NAME Linux)
endif()
file(GLOB zig "${CMAKE_CURRENT_LIST_DIR}/../../.venv-zig/lib/python*/site-packages/ziglang/zig")
set(CMAKE_CXX_COMPILER ${zig} c++)
set(CMAKE_CXX_COMPILER_TARGET ${LRNORM_ZIG_TARGET})
set(CMAKE_CXX_ARCHIVE_CREATE "${zig} ar qc <TARGET> <OBJECTS>")
set(CMAKE_CXX_ARCHIVE_FINISH "${zig} ranlib <TARGET>")
