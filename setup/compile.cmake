# SPDX-License-Identifier: Apache-2.0
# How all C++ of this repository is compiled; each CMake project includes this.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "build type" FORCE)
endif()

set(FAMFS_SANITIZE "" CACHE STRING "address (with undefined), thread, or empty")
add_compile_options(-Wall -Wextra -Werror)
if(FAMFS_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(FAMFS_SANITIZE STREQUAL "thread")
  # GCC warns that std::atomic_thread_fence is invisible to TSan; the fences here order device
  # memory, and what threads share is under locks or atomics.
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer -Wno-error=tsan)
  add_link_options(-fsanitize=thread)
elseif(FAMFS_SANITIZE)
  message(FATAL_ERROR "FAMFS_SANITIZE is '${FAMFS_SANITIZE}'; allowed: address, thread, or empty")
endif()
