// SPDX-License-Identifier: Apache-2.0
// libFuzzer: any text is a configuration within the limits, or a refusal.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "alloc/space.h"
#include "base/error.h"
#include "cli/alloc_config.h"
#include "media/layout.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto interleave =
        famfs::cli::parse_alloc_config(std::string_view(reinterpret_cast<const char*>(data), size));
    if (interleave.strips > famfs::media::kMaxStrips ||
        interleave.buckets > famfs::alloc::kMaxBuckets) {
      std::abort();
    }
  } catch (const famfs::base::Error&) {  // NOLINT(bugprone-empty-catch): a refusal is right
  }
  return 0;
}
