// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "alloc/space.h"
#include "media/log_entry.h"
#include "media/superblock.h"

namespace famfs::alloc {

// The file space of all devices of a file system: places files. Not thread-safe.
class Pool {
 public:
  // With the first device only.
  explicit Pool(const media::Superblock& superblock);

  // One more device, with the next index. Nothing is placed there until it is usable.
  void add_device(uint64_t size);
  // Takes back the last add_device(), on which nothing is placed.
  void remove_device();
  void set_usable(uint64_t device, bool usable) { devices_.at(device).usable = usable; }

  // Room for `size` bytes (> 0): one run on the first device that has one, else the largest free
  // runs of all, at most 16. Throws base::Error: EINVAL for size 0, ENOSPC with what is free.
  // Nothing is kept on error.
  media::FileMap allocate(uint64_t size, uint64_t owner);

  // Strips for `size` bytes. With as many usable devices as strips, each has one, whatever nbuckets
  // is; with one, or fewer than strips, the strips are in different buckets of one device. A file
  // smaller than one chunk is placed as without. Throws base::Error: EINVAL for parameters out of
  // range (naming which), ENOSPC if there is no room for all strips. Nothing is kept on error.
  media::FileMap allocate(uint64_t size, const Interleave& interleave, uint64_t owner,
                          std::mt19937_64& random);

  // Marks the runs of a map read from the log (validated: inside its devices) as used, or, if any
  // part of it has an owner already (itself included), changes nothing and returns the first such
  // part: one extent over all others must not cost as much as they are, entry after entry.
  std::optional<Collision> reserve(const media::FileMap& map, uint64_t owner);
  // Gives back what allocate() or reserve() took for `map`.
  void release(const media::FileMap& map);

  // Of all devices together.
  uint64_t capacity() const noexcept;
  uint64_t used() const noexcept;  // superblock, log and the like included
  uint64_t free() const noexcept { return capacity() - used(); }

  uint64_t devices() const noexcept { return devices_.size(); }
  const Space& space(uint64_t device) const { return devices_.at(device).space; }

 private:
  struct Device {
    Space space;
    bool usable = true;
  };

  std::vector<media::Extent> one_run(uint64_t length) const;
  std::vector<media::Extent> scattered(uint64_t length) const;
  std::vector<media::Extent> strip_per_device(uint64_t length, uint64_t strips,
                                              std::mt19937_64& random) const;
  std::vector<media::Extent> strip_per_bucket(uint64_t length, const Interleave& interleave,
                                              std::mt19937_64& random) const;
  uint64_t usable() const noexcept;
  void take(const media::FileMap& map, uint64_t owner);

  uint64_t unit_;
  std::vector<Device> devices_;
};

}  // namespace famfs::alloc
