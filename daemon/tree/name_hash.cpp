// SPDX-License-Identifier: Apache-2.0
#include "tree/name_hash.h"

#include <bit>

namespace famfs::tree {

size_t NameHash::operator()(uint64_t directory, std::string_view name) const noexcept {
  static_assert(sizeof(size_t) == crypto_shorthash_BYTES);
  std::array<unsigned char, crypto_shorthash_BYTES> hash{};
  crypto_shorthash(hash.data(), reinterpret_cast<const unsigned char*>(name.data()), name.size(),
                   key_.data());
  // 2^64 divided by the golden ratio: directories whose ids are near are far apart.
  return std::bit_cast<size_t>(hash) ^ (directory * 0x9e3779b97f4a7c15);
}

}  // namespace famfs::tree
