// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

// What the kernel shows and takes in files.
namespace mapsrv {

// A counter of debugfs' fuse_dax/stats; -1 if it is not there.
long counter(const std::string& name);

// Writes a file in one write(2). 0 or an errno.
int write_file(const std::string& path, const std::string& text);

bool file_contains(const std::string& path, const std::string& text);

// Where a mapped page is in physical memory; 0 if it is not.
unsigned long long physical_address(const void* address);

// Tells the kernel that the page of a physical address is lost. 0 or an errno.
int hard_offline(unsigned long long physical);

// Takes a dax device from its driver for file systems, and gives it back. 0 or an errno.
int unbind_device(const std::string& path);
int bind_device(const std::string& path);

}  // namespace mapsrv
