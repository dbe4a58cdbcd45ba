// SPDX-License-Identifier: Apache-2.0
#include "volume/follower.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace famfs::volume {
namespace {

// Entries decoded before any is taken: as many as stay in the processor's cache until then.
constexpr uint64_t kBatch = 256;

}  // namespace

media::Superblock load_superblock(memory::SharedMemory& memory) {
  if (memory.size() < media::kSuperblockSize) {
    throw base::Error(ENODATA, "{} has {} bytes, too few for a famfs", memory.name(),
                      memory.size());
  }
  memory.reach(media::kSuperblockSize);
  const auto load = [&] {
    return media::decode_superblock(memory.acquire(0, media::kSuperblockSize), memory.size());
  };
  auto decoded = load();
  // Four lines may arrive one by one while mkfs writes them.
  if (!decoded.value) decoded = load();
  if (decoded.value) {
    memory.reach(media::file_space_offset(decoded.value->log_len));
    return *std::move(decoded.value);
  }
  const std::string what = media::to_string(decoded.findings.front());
  if (!media::has_superblock_magic(memory.view(0, media::kSuperblockSize))) {
    throw base::Error(ENODATA, "{} has no famfs: {}", memory.name(), what);
  }
  throw base::Error(EUCLEAN, "{}: {}", memory.name(), what);
}

Follower::Follower(memory::SharedMemory& memory, const media::Superblock& superblock,
                   std::mutex& media_mutex)
    : memory_(memory),
      superblock_(superblock),
      media_mutex_(media_mutex),
      contents_(superblock),
      reader_(memory, superblock) {}

bool Follower::check_identity() {
  if (superseded()) return false;
  const std::scoped_lock lock(media_mutex_);
  ++identity_checks_;
  if (media::is_same_file_system(memory_.acquire(0, memory::kCacheLine), superblock_.fs_uuid)) {
    return true;
  }
  superseded_.store(true, std::memory_order_release);
  return false;
}

void Follower::check_current() const {
  if (!superseded()) return;
  throw base::Error(ESTALE, "the file system {} on {} was replaced or killed by mkfs: unmount it",
                    superblock_.fs_uuid.to_string(), memory_.name());
}

media::Decoded<media::LogHeader> Follower::read_header() {
  if (!check_identity()) check_current();
  media::Decoded<media::LogHeader> header;
  {
    const std::scoped_lock lock(media_mutex_);
    ++header_checks_;
    header = reader_.read_header();
  }
  // A log that is being re-made looks damaged or shrunk: tell the two apart.
  const bool strange = !header.value || header.value->next_index < reader_.cursor();
  if (strange && !check_identity()) check_current();
  return header;
}

RefreshResult Follower::follow(const Taken& taken) {
  RefreshResult result;
  const uint64_t nodes = contents_.tree.count();
  const auto decoded = read_header();
  header_ = decoded.value;
  if (!header_) {
    result.stopped = *media::first_damage(decoded.findings);
  } else if (header_->next_index < reader_.cursor()) {
    result.stopped = {media::Severity::kDamage,
                      media::Area::kLogHeader,
                      0,
                      "next_index",
                      std::to_string(header_->next_index),
                      fmt::format("{} or more, as so many entries were read", reader_.cursor())};
  } else {
    contents_.tree.expect(header_->next_index - reader_.cursor());
    // While the log is stuck at a bad entry, what lies behind it is not read again and again.
    uint64_t limit = stopped_ ? 1 : kBatch;
    while (!result.stopped && reader_.cursor() != header_->next_index) {
      take_batch(*header_, limit, taken, result);
      limit = kBatch;
    }
  }
  stopped_ = result.stopped.has_value();
  result.new_nodes = contents_.tree.count() - nodes;
  if (result.new_nodes > 0) result.first_new = nodes + 1;
  return result;
}

void Follower::take_batch(const media::LogHeader& header, uint64_t limit, const Taken& taken,
                          RefreshResult& result) {
  log::Batch batch;
  {
    const std::scoped_lock lock(media_mutex_);
    batch = reader_.read(header, limit);
  }
  // mkfs clears the magic before it touches the log, so entries read before this check are ours.
  if (!check_identity()) check_current();

  for (const media::LogEntry& entry : batch.entries) {
    result.stopped = contents_.add(entry);
    if (result.stopped) break;
    reader_.advance(entry.index + 1);
    ++result.entries;
    ++entries_read_;
    if (taken) taken(entry);
  }
  for (media::Finding& notice : batch.notices) {
    if (notice.index >= reader_.cursor()) break;
    ++entries_skipped_;
    result.notices.push_back(std::move(notice));
  }
  if (!result.stopped) result.stopped = std::move(batch.stopped);
}

}  // namespace famfs::volume
