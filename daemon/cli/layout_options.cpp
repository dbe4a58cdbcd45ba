// SPDX-License-Identifier: Apache-2.0
#include "cli/layout_options.h"

#include "alloc/space.h"
#include "cli/alloc_config.h"
#include "cli/mounts.h"
#include "media/layout.h"

namespace famfs::cli {

void LayoutOptions::declare(CLI::App& app) {
  strips_ = add_number(app, "-N,--nstrips", given_.strips, media::kMaxStrips,
                       "interleave new files over this many strips (1..16), 0 for none");
  buckets_ = add_number(app, "-B,--nbuckets", given_.buckets, alloc::kMaxBuckets,
                        "cut the device into this many regions, one strip in each (strips..64)");
  chunk_size_ = add_size(app, "-C,--chunksize", given_.chunk_size,
                         "bytes of one strip before the next one is used (power of two, default "
                         "2m)");
}

Interleave LayoutOptions::interleave_for(const std::string& path) const {
  Interleave interleave;
  if (const auto mount = mount_of_path(path); mount && strips_->count() == 0) {
    interleave = load_alloc_config(mount->target);
  }
  if (strips_->count() != 0) interleave.strips = given_.strips;
  if (buckets_->count() != 0) interleave.buckets = given_.buckets;
  if (chunk_size_->count() != 0) interleave.chunk_size = given_.chunk_size;
  if (interleave.strips == 0) {
    if (buckets_->count() != 0 && given_.buckets != 0) {
      throw UsageError("--nbuckets without --nstrips; give --nstrips 1..16 too");
    }
    return {};
  }
  if (interleave.buckets == 0) interleave.buckets = interleave.strips;
  return interleave;
}

}  // namespace famfs::cli
