// SPDX-License-Identifier: Apache-2.0
#include "alloc/space.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "base/checked.h"
#include "base/error.h"

namespace famfs::alloc {
namespace {

[[noreturn]] void refuse(const char* parameter, uint64_t given, const std::string& allowed) {
  throw base::Error(EINVAL, "{} is {}; allowed: {}", parameter, given, allowed);
}

}  // namespace

uint64_t bucket_size(uint64_t device_size, uint64_t nbuckets) {
  return base::round_down(device_size / nbuckets, media::kAllocationUnit);
}

void check_interleave(const Interleave& interleave, uint64_t device_size, uint64_t alloc_unit) {
  if (interleave.nbuckets == 0 || interleave.nbuckets > kMaxBuckets) {
    refuse("nbuckets", interleave.nbuckets, fmt::format("1 to {}", kMaxBuckets));
  }
  if (bucket_size(device_size, interleave.nbuckets) < kMinimumBucketSize) {
    refuse("nbuckets", interleave.nbuckets,
           fmt::format("at most {}, so that each bucket of the {}-byte device has {} bytes",
                       device_size / kMinimumBucketSize, device_size, kMinimumBucketSize));
  }
  const uint64_t most = std::min<uint64_t>(interleave.nbuckets, media::kMaxStrips);
  if (interleave.nstrips == 0 || interleave.nstrips > most) {
    refuse("nstrips", interleave.nstrips,
           fmt::format("1 to {} (no more than {} nor than nbuckets)", most, media::kMaxStrips));
  }
  if (!std::has_single_bit(interleave.chunk_size) || interleave.chunk_size % alloc_unit != 0) {
    refuse("chunk_size", interleave.chunk_size,
           fmt::format("a power of two that is a multiple of {}", alloc_unit));
  }
}

Space::Space(const media::Superblock& superblock)
    : Space(0, media::file_space_offset(superblock.log_len), superblock.device_size,
            superblock.alloc_unit) {}

Space::Space(uint64_t device, uint64_t begin, uint64_t size, uint64_t unit)
    : device_(device), capacity_(size), unit_(unit) {
  free_runs_.emplace(0, capacity_);
  take(0, begin, 0);
}

std::optional<media::Extent> Space::find(uint64_t length, uint64_t begin, uint64_t end) const {
  std::optional<uint64_t> from;
  if (length >= media::kAllocationUnit)
    from = first_fit(length, media::kAllocationUnit, begin, end);
  if (!from) from = first_fit(length, unit_, begin, end);
  if (!from) return std::nullopt;
  return media::Extent{device_, *from, length};
}

std::vector<media::Extent> Space::largest_runs(size_t most) const {
  std::vector<media::Extent> runs;
  for (const auto& [begin, end] : free_runs_) {
    const auto from = base::round_up(begin, unit_);
    const uint64_t to = base::round_down(end, unit_);
    if (from && *from < to) runs.push_back({device_, *from, to - *from});
  }
  const size_t count = std::min(most, runs.size());
  std::partial_sort(runs.begin(), runs.begin() + static_cast<ptrdiff_t>(count), runs.end(),
                    [](const auto& a, const auto& b) { return a.length > b.length; });
  runs.resize(count);
  return runs;
}

std::vector<media::Extent> Space::find_strips(uint64_t length, const Interleave& interleave,
                                              std::mt19937_64& random) const {
  const uint64_t bucket = bucket_size(capacity_, interleave.nbuckets);
  std::vector<uint64_t> order(interleave.nbuckets);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  std::vector<media::Extent> strips;
  for (const uint64_t at : order) {
    if (strips.size() == interleave.nstrips) break;
    if (const auto strip = find(length, at * bucket, (at + 1) * bucket)) strips.push_back(*strip);
  }
  return strips;
}

void Space::take(const media::Extent& extent, uint64_t owner) {
  take(extent.offset, extent.offset + extent.length, owner);
}

std::optional<Collision> Space::reserve(const media::Extent& extent, uint64_t owner) {
  const uint64_t end = extent.offset + extent.length;
  const auto run = first_run_after(extent.offset);
  if (run == used_runs_.end() || run->first >= end) {
    take(extent.offset, end, owner);
    return std::nullopt;
  }
  const uint64_t begin = std::max(extent.offset, run->first);
  return Collision{{device_, begin, std::min(end, run->second.end) - begin}, run->second.owner};
}

void Space::release(const media::Extent& extent) {
  give_back(extent.offset, extent.offset + extent.length);
}

uint64_t Space::used_within(uint64_t offset, uint64_t length) const {
  const uint64_t end = base::checked_add(offset, length).value_or(UINT64_MAX);
  uint64_t used = 0;
  for (auto run = first_run_after(offset); run != used_runs_.end() && run->first < end; ++run) {
    const uint64_t begin = std::max(offset, run->first);
    used += std::min(end, run->second.end) - begin;
  }
  return used;
}

std::vector<uint64_t> Space::owners_within(uint64_t offset, uint64_t length) const {
  const uint64_t end = base::checked_add(offset, length).value_or(UINT64_MAX);
  std::vector<uint64_t> owners;
  for (auto run = first_run_after(offset); run != used_runs_.end() && run->first < end; ++run) {
    const uint64_t owner = run->second.owner;
    if (owner != 0 && std::find(owners.begin(), owners.end(), owner) == owners.end()) {
      owners.push_back(owner);
    }
  }
  return owners;
}

std::map<uint64_t, Space::Run>::const_iterator Space::first_run_after(uint64_t offset) const {
  // What a log says next mostly lies behind all that it said before.
  if (!used_runs_.empty() && used_runs_.rbegin()->second.end <= offset) return used_runs_.end();
  auto run = used_runs_.upper_bound(offset);
  return run != used_runs_.begin() && std::prev(run)->second.end > offset ? std::prev(run) : run;
}

std::optional<uint64_t> Space::first_fit(uint64_t length, uint64_t alignment, uint64_t begin,
                                         uint64_t end) const {
  end = std::min(end, capacity_);
  auto run = free_runs_.upper_bound(begin);
  if (run != free_runs_.begin()) --run;
  for (; run != free_runs_.end() && run->first < end; ++run) {
    const auto from = base::round_up(std::max(begin, run->first), alignment);
    const uint64_t to = std::min(end, run->second);
    if (from && *from < to && length <= to - *from) return from;
  }
  return std::nullopt;
}

void Space::take(uint64_t begin, uint64_t end, uint64_t owner) {
  auto run = std::prev(free_runs_.upper_bound(begin));
  const auto [free_begin, free_end] = *run;
  const auto next = free_runs_.erase(run);
  if (free_begin < begin) free_runs_.emplace_hint(next, free_begin, begin);
  if (end < free_end) free_runs_.emplace_hint(next, end, free_end);
  used_runs_.emplace_hint(used_runs_.end(), begin, Run{end, owner});
  used_ += end - begin;
}

void Space::give_back(uint64_t begin, uint64_t end) {
  used_runs_.erase(begin);
  used_ -= end - begin;
  auto next = free_runs_.upper_bound(begin);
  if (next != free_runs_.end() && next->first == end) {
    end = next->second;
    next = free_runs_.erase(next);
  }
  if (next != free_runs_.begin() && std::prev(next)->second == begin) {
    std::prev(next)->second = end;
  } else {
    free_runs_.emplace(begin, end);
  }
}

}  // namespace famfs::alloc
