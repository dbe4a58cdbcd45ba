// SPDX-License-Identifier: Apache-2.0
#include "cli/layout_options.h"

#include "alloc/space.h"
#include "media/layout.h"

namespace famfs::cli {

void add_interleave(CLI::App& app, Interleave& interleave) {
  add_number(app, "-N,--nstrips", interleave.strips, media::kMaxStrips,
             "interleave new files over this many strips (1..16)");
  add_number(app, "-B,--nbuckets", interleave.buckets, alloc::kMaxBuckets,
             "cut the device into this many regions, one strip in each (strips..64)");
  add_size(app, "-C,--chunksize", interleave.chunk_size,
           "bytes of one strip before the next one is used (power of two, default 2m)");
}

Interleave completed(Interleave interleave) {
  if (interleave.strips == 0) {
    if (interleave.buckets != 0) {
      throw UsageError("--nbuckets without --nstrips; give --nstrips 1..16 too");
    }
    return interleave;
  }
  if (interleave.buckets == 0) interleave.buckets = interleave.strips;
  return interleave;
}

}  // namespace famfs::cli
