// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "log/reader.h"
#include "media/finding.h"
#include "media/log_header.h"
#include "media/superblock.h"
#include "memory/shared_memory.h"
#include "volume/contents.h"

namespace famfs::volume {

// Validated superblock of `memory`, invalidated first. Throws base::Error: ENODATA if there is no
// famfs, EUCLEAN with the finding if it is damaged or of another version.
media::Superblock load_superblock(memory::SharedMemory& memory);

// What one refresh brought.
struct RefreshResult {
  uint64_t entries = 0;        // log entries taken
  tree::NodeId first_new = 0;  // new nodes are first_new .. first_new + new_nodes - 1
  uint64_t new_nodes = 0;
  std::vector<media::Finding> notices;    // entries skipped this time
  std::optional<media::Finding> stopped;  // why the log cannot be followed further, while so
};

// Follows the log of one file system into its contents, checking that it still is that file system.
// The caller locks: follow() and contents changes exclusively, everything else shared. The bytes of
// superblock and log in the mapping are guarded by the mutex it is given.
class Follower {
 public:
  // Both references must outlive it.
  Follower(memory::SharedMemory& memory, const media::Superblock& superblock,
           std::mutex& media_mutex);

  // Invalidates the superblock's first line (magic and fs uuid) and compares. False sets
  // superseded().
  bool check_identity();
  bool superseded() const noexcept { return superseded_.load(std::memory_order_acquire); }
  // Throws ESTALE if superseded().
  void check_current() const;

  // Identity, then header: two lines. Throws ESTALE; a damaged header is in the findings.
  media::Decoded<media::LogHeader> read_header();

  // Takes all new entries, calling `taken` for each. Identity is compared before and after entries
  // are read, and none is taken if it does not match: throws ESTALE.
  using Taken = std::function<void(const media::LogEntry&)>;
  RefreshResult follow(const Taken& taken = {});
  // The header that follow() read last; nullopt if it was damaged.
  const std::optional<media::LogHeader>& header() const noexcept { return header_; }

  Contents& contents() noexcept { return contents_; }
  const Contents& contents() const noexcept { return contents_; }
  log::Reader& reader() noexcept { return reader_; }
  const log::Reader& reader() const noexcept { return reader_; }

  uint64_t header_checks() const noexcept { return header_checks_; }
  uint64_t identity_checks() const noexcept { return identity_checks_; }
  uint64_t entries_read() const noexcept { return entries_read_; }
  uint64_t entries_skipped() const noexcept { return entries_skipped_; }

 private:
  // Takes at most `limit` entries.
  void take_batch(const media::LogHeader& header, uint64_t limit, const Taken& taken,
                  RefreshResult& result);

  memory::SharedMemory& memory_;
  const media::Superblock superblock_;
  std::mutex& media_mutex_;
  std::atomic<bool> superseded_{false};
  Contents contents_;
  log::Reader reader_;
  std::optional<media::LogHeader> header_;
  bool stopped_ = false;  // the last batch ended at a bad entry

  std::atomic<uint64_t> header_checks_{0};
  std::atomic<uint64_t> identity_checks_{0};
  std::atomic<uint64_t> entries_read_{0};
  std::atomic<uint64_t> entries_skipped_{0};
};

}  // namespace famfs::volume
