// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sodium/crypto_shorthash.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace famfs::tree {

// Hashes names for a NameIndex by SipHash (https://www.aumasson.jp/siphash/siphash.pdf) with a key
// of its own: who writes a log cannot know which names would share a place, and so cannot write one
// whose replay takes time by the square of its length. Thread-safe.
class NameHash {
 public:
  NameHash() noexcept { crypto_shorthash_keygen(key_.data()); }

  // Of a name of any length in the directory of that node id.
  size_t operator()(uint64_t directory, std::string_view name) const noexcept;

 private:
  std::array<unsigned char, crypto_shorthash_KEYBYTES> key_{};
};

}  // namespace famfs::tree
