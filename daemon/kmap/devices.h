// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "kmap/offer.h"
#include "kmap/uapi.h"

namespace famfs::kmap {

// Device `index` is this backing object in every connection of ours; those of maps come after.
inline constexpr std::uint64_t kFirstDeviceBacking = 1;
inline constexpr std::uint64_t kFirstMapBacking = 1024;

// Tells the kernel of a connection about the device at `path`, after its INIT was answered. Nothing
// for a protocol in which the kernel asks for devices by name. Throws base::Error with the reason.
void announce_device(Protocol protocol, int fuse_fd, std::uint32_t index, const std::string& path);

// The answer to GET_DAXDEV. Throws base::Error (ENAMETOOLONG).
uapi::DaxdevOut encode_daxdev(std::uint32_t index, const std::string& path);

}  // namespace famfs::kmap
