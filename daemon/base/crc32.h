// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace famfs::base {

// zlib's CRC-32 (polynomial 0xEDB88320, initial and final xor 0xFFFFFFFF), the only checksum on the
// medium.
uint32_t crc32(std::span<const std::byte> bytes) noexcept;

}  // namespace famfs::base
