// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "media/finding.h"
#include "media/layout.h"

namespace famfs::media {

struct LogHeader {
  uint64_t log_len = kMinimumLogLength;
  uint64_t last_index = log_capacity(kMinimumLogLength) - 1;
  uint64_t next_seqnum = 0;
  uint64_t next_index = 0;  // number of entries in use

  friend bool operator==(const LogHeader&, const LogHeader&) = default;
};

std::array<std::byte, kLogHeaderSize> encode(const LogHeader& header);

// Total over all input. `log_len` is the superblock's. next_seqnum unequal to next_index is a
// notice: an append in progress or cut short shows it.
Decoded<LogHeader> decode_log_header(std::span<const std::byte> bytes, uint64_t log_len);

}  // namespace famfs::media
