// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <vector>

#include "media/log_entry.h"
#include "media/superblock.h"

namespace famfs::alloc {

// How to interleave a file: the device is cut into `nbuckets` equal regions and `nstrips` of them
// hold one strip each, in chunks of `chunk_size` bytes.
struct Interleave {
  uint64_t nbuckets = 0;    // nstrips..64, each bucket at least 1 GiB
  uint64_t nstrips = 0;     // 1..16
  uint64_t chunk_size = 0;  // power of two, multiple of the allocation unit
};

inline constexpr uint64_t kMaxBuckets = 64;
inline constexpr uint64_t kMinimumBucketSize = 1024ull * 1024 * 1024;

// Bytes of each of `nbuckets` (> 0) equal regions, in whole allocation units of 2 MiB.
uint64_t bucket_size(uint64_t device_size, uint64_t nbuckets);

// A part of an extent that another owner already has.
struct Collision {
  media::Extent extent;  // the overlapping part
  uint64_t owner = 0;    // who had it first
};

// Free and used space of one device, kept up to date entry by entry. Used runs carry an owner (a
// number of the caller's choice: volume/ uses the node id). Allocation costs the number of free
// runs that are too small, never the size of the device. Not thread-safe.
class Space {
 public:
  // File space of the device that `superblock` describes: the superblock and the log are used by
  // owner 0. Lengths are rounded up to the allocation unit.
  explicit Space(const media::Superblock& superblock);
  // Of the device with this index, the bytes [begin, size) of it.
  Space(uint64_t device, uint64_t begin, uint64_t size, uint64_t unit);

  // A run of `length` bytes (a multiple of the unit) inside [begin, end), first fit. From 2 MiB on
  // a place that large pages can map is preferred. Nothing is taken.
  std::optional<media::Extent> find(uint64_t length, uint64_t begin, uint64_t end) const;
  std::optional<media::Extent> find(uint64_t length) const { return find(length, 0, capacity_); }
  // The largest free runs in whole units, at most `most`, largest first.
  std::vector<media::Extent> largest_runs(size_t most) const;
  // Takes a run that find() or largest_runs() gave, or a part of it.
  void take(const media::Extent& extent, uint64_t owner);

  // Strips of `length` bytes, one per bucket, buckets tried in the order that `random` gives; fewer
  // than nstrips if fewer buckets have room. Nothing is taken.
  std::vector<media::Extent> find_strips(uint64_t length, const Interleave& interleave,
                                         std::mt19937_64& random) const;

  // Marks an extent read from the log (validated: inside the device) as used, or, if any part of it
  // has an owner already, changes nothing and returns the first such part.
  std::optional<Collision> reserve(const media::Extent& extent, uint64_t owner);

  // Gives back what take() or reserve() took.
  void release(const media::Extent& extent);

  uint64_t capacity() const noexcept { return capacity_; }
  uint64_t used() const noexcept { return used_; }  // superblock and log included
  uint64_t free() const noexcept { return capacity_ - used_; }

  // Bytes used in [offset, offset + length).
  uint64_t used_within(uint64_t offset, uint64_t length) const;
  // Owners of anything in [offset, offset + length), ascending by offset, without owner 0.
  std::vector<uint64_t> owners_within(uint64_t offset, uint64_t length) const;

 private:
  struct Run {
    uint64_t end = 0;
    uint64_t owner = 0;
  };

  // First used run that ends after `offset`.
  std::map<uint64_t, Run>::const_iterator first_run_after(uint64_t offset) const;
  std::optional<uint64_t> first_fit(uint64_t length, uint64_t alignment, uint64_t begin,
                                    uint64_t end) const;
  void take(uint64_t begin, uint64_t end, uint64_t owner);
  void give_back(uint64_t begin, uint64_t end);

  uint64_t device_;  // index
  uint64_t capacity_;
  uint64_t unit_;
  uint64_t used_ = 0;
  std::map<uint64_t, uint64_t> free_runs_;  // begin -> end, never touching each other
  std::map<uint64_t, Run> used_runs_;       // begin -> end and owner, never overlapping
};

// Throws base::Error(EINVAL) that names the parameter, what was given and what is allowed.
void check_interleave(const Interleave& interleave, uint64_t device_size, uint64_t alloc_unit);

}  // namespace famfs::alloc
