// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <shared_mutex>
#include <span>
#include <string>
#include <vector>

#include "alloc/space.h"
#include "base/error.h"
#include "base/uuid.h"
#include "log/writer.h"
#include "media/superblock.h"
#include "memory/shared_memory.h"
#include "tree/tree.h"
#include "volume/devices.h"
#include "volume/follower.h"

namespace famfs::volume {

enum class Role { kMaster, kClient };

const char* to_string(Role role) noexcept;  // "master", "client"

struct OpenOptions {
  std::optional<base::Uuid> system_uuid{};  // of this host: master if the superblock names it
  bool force_client = false;                // never append, even on the master
  DeviceSource devices{};                   // where to look for further devices
  // Keeps other masters away, called on the master before anything is written; what it throws is
  // what open() throws.
  std::function<void()> lock_master{};
};

// A file or directory to be made on the master.
struct CreateRequest {
  std::string path{};  // relative to the mount point
  bool directory = false;
  uint32_t mode = 0;  // permission bits
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t size = 0;                              // bytes, > 0 for a file
  std::optional<alloc::Interleave> interleave{};  // contiguous without
};

struct SpaceNumbers {
  uint64_t capacity = 0;  // bytes of all devices
  uint64_t used = 0;      // superblock and log included
  uint64_t free = 0;
  uint64_t files = 0;
  uint64_t directories = 0;       // the root not counted
  uint64_t entries_used = 0;      // of the log
  uint64_t entries_capacity = 0;  // of the log
  uint64_t alloc_unit = 0;

  // With the root, and so the highest node id there is.
  uint64_t nodes() const noexcept { return files + directories + 1; }
};

struct Statistics {
  uint64_t refreshes = 0;         // refresh() calls
  uint64_t header_checks = 0;     // times the log header was invalidated and read
  uint64_t identity_checks = 0;   // times the superblock was invalidated and compared
  uint64_t entries_read = 0;      // log entries taken since open
  uint64_t entries_skipped = 0;   // of them, with a type we do not use
  uint64_t entries_appended = 0;  // by this volume
  memory::Counters memory;
};

// One mounted file system on its devices: identity, role, the log followed incrementally, creation
// on the master.
//
// Thread safety: every member may be called from any thread. Two locks, always taken in this order:
//   state_mutex_  (shared for looking, exclusive for changing) guards contents and log cursor;
//   media_mutex_  guards the bytes of superblock and log in the mapping, so that the acquire of one
//                 thread and the decoding of another do not meet.
// A TreeView holds state_mutex_ shared: do not call another member of Volume while one is alive in
// the same thread, other than the constant accessors marked "takes no lock".
//
// Errors are base::Error. ESTALE from every member that reads or changes the file system once
// another mkfs has replaced it: sticky, as the maps held here no longer describe the device.
class Volume {
 public:
  // Validates superblock and log header, replays the log. Entries after the first bad one are not
  // played: open succeeds and last_refresh() says why it stopped. A client's files begin without
  // permission to write, whatever the log says. On the master an append that a crash cut short is
  // completed first (unannounced.h), under options.lock_master. Throws ENODATA if there is no
  // famfs, EUCLEAN for a damaged superblock or log header (with the finding), ESTALE if it is
  // re-made meanwhile.
  static std::unique_ptr<Volume> open(std::unique_ptr<memory::SharedMemory> memory,
                                      const OpenOptions& options);
  Volume(const Volume&) = delete;
  Volume& operator=(const Volume&) = delete;
  ~Volume() = default;

  // These take no lock and never change.
  Role role() const noexcept { return role_; }
  const media::Superblock& superblock() const noexcept { return superblock_; }
  memory::SharedMemory& memory() const noexcept { return *memory_; }
  // The device with this index as a file's map names it; 0 is memory(). Throws EIO with the reason
  // for a device that is missing on this host. Not while a TreeView is held.
  memory::SharedMemory& device(uint64_t index);
  // Whether that device is on this host.
  bool present(uint64_t index);
  // The further devices, where they are here or why they are missing. Takes no lock of these.
  std::vector<DeviceState> devices() const { return devices_.states(); }

  // True once another mkfs (or kill) has been seen; takes no lock, reads no shared memory.
  bool superseded() const noexcept { return follower_.superseded(); }
  // Throws ESTALE if superseded; takes no lock.
  void check_current() const;

  // What shows that another host appends to this log with the identity of this one; empty if
  // nothing does. Sticky: this mount appends nothing more and goes on as a client does.
  std::string other_master() const;

  // Follows the log: invalidates the superblock's first line and the header's line, and if
  // next_index moved reads exactly the new entries. Constant cost when nothing is new. The identity
  // is compared before and after; entries of a foreign log are never taken.
  RefreshResult refresh();
  // How many entries the log has now, of which refresh() may not have read the last ones yet; two
  // lines are invalidated. Nullopt if the header is damaged, ESTALE as from refresh().
  std::optional<uint64_t> announced();
  // What replay at open() or the latest refresh that read entries gave.
  RefreshResult last_refresh() const;

  // Invalidates one line and compares the identity (for the periodic check). False, and
  // superseded() from then on, if the file system was replaced.
  bool check_identity();

  // On the master: makes all of `requests` (in order, so a directory before what is in it) as one
  // append, or none. Returns the node ids. Throws EROFS on a client and once another master was
  // detected, EEXIST, ENOENT (no parent), ENOTDIR, ENAMETOOLONG, EINVAL, ENOSPC (device or log
  // full), EUCLEAN (the log is damaged, so what is appended would never be seen).
  std::vector<tree::NodeId> create(std::span<const CreateRequest> requests);
  // The same, but if one of them cannot be made those before it are.
  struct Created {
    std::vector<tree::NodeId> nodes;
    std::optional<base::Error> refused;  // why requests[nodes.size()] could not be made
  };
  Created create_leading(std::span<const CreateRequest> requests);
  // On the master: makes `memory` a further device and returns its index. Its first block is
  // written before the log names it. Throws as create(), EEXIST for a device that has a famfs or is
  // part of one (unless `force`), ENOSPC for one that is too small or one too many.
  uint64_t add_device(std::unique_ptr<memory::SharedMemory> memory, bool force);
  tree::NodeId create_file(const CreateRequest& request);
  tree::NodeId make_directory(const CreateRequest& request);

  // The tree, locked for reading as long as the view lives.
  class TreeView {
   public:
    const tree::Tree* operator->() const noexcept { return tree_; }
    const tree::Tree& operator*() const noexcept { return *tree_; }

   private:
    friend class Volume;
    TreeView(std::shared_lock<std::shared_mutex> lock, const tree::Tree& tree)
        : lock_(std::move(lock)), tree_(&tree) {}
    std::shared_lock<std::shared_mutex> lock_;
    const tree::Tree* tree_;
  };
  // Throws ESTALE if superseded.
  TreeView tree() const;

  // Local attributes (chmod, chown, utimes): this host, this mount. Throws ENOENT, ESTALE.
  void set_attributes(tree::NodeId id, const tree::Tree::Attributes& attributes);

  // Modes, owners and times, for a program that goes on with this mount (tree.h). restore() throws
  // EPROTO if the tree is another.
  std::vector<tree::NodeState> node_states() const;
  void restore(std::span<const tree::NodeState> states);

  SpaceNumbers space() const;
  Statistics statistics() const;
  // Files with data in [offset, offset + length) of a device (for memory errors).
  std::vector<tree::NodeId> files_at(uint64_t device, uint64_t offset, uint64_t length) const;

 private:
  Volume(std::unique_ptr<memory::SharedMemory> memory, const media::Superblock& superblock,
         Role role, DeviceSource devices);

  void require_master() const;  // throws EROFS
  // These want state_mutex_ held exclusively.
  RefreshResult follow();
  // Takes what the log holds, so that it can be appended to. Throws as create().
  void begin_change();
  void complete_append(const media::LogHeader& header);
  base::Error other_master_error() const;
  [[noreturn]] void other_master_found(std::string evidence);
  void note_foreign_entries();
  media::LogHeader require_counters(uint64_t next);
  void require_last_append();
  media::EntryBody place(const CreateRequest& request, tree::NodeId owner);
  Created create_locked(std::span<const CreateRequest> requests, bool all_or_none);
  void append(std::span<const media::EntryBody> bodies);
  uint64_t whole_entries(uint64_t first, std::span<const media::EntryBody> bodies);
  uint64_t settle_entries(uint64_t first, std::span<const media::EntryBody> bodies);
  void require_entries(uint64_t first, uint64_t whole, uint64_t count);
  void verify_append(uint64_t first, std::span<const media::EntryBody> bodies);

  std::unique_ptr<memory::SharedMemory> memory_;
  const media::Superblock superblock_;
  const Role role_;

  mutable std::mutex media_mutex_;
  mutable std::shared_mutex state_mutex_;
  Follower follower_;
  Devices devices_;
  log::Writer writer_;
  RefreshResult last_;
  std::string other_master_;
  std::optional<media::LogEntry> last_append_;  // the first entry of it
  std::mt19937_64 random_;

  std::atomic<uint64_t> refreshes_{0};
  std::atomic<uint64_t> entries_appended_{0};
};

}  // namespace famfs::volume
