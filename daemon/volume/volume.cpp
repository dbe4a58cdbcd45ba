// SPDX-License-Identifier: Apache-2.0
#include "volume/volume.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "media/path.h"
#include "volume/format.h"
#include "volume/unannounced.h"

namespace famfs::volume {
namespace {

constexpr uint32_t kWriteBits = 0222;

[[noreturn]] void refuse_path(int code, const std::string& path, std::string_view why) {
  throw base::Error(code, "cannot create '{}': {}", media::printable(path), why);
}

// Everything about a request that can be wrong before space is looked for.
void check_request(const CreateRequest& request, const tree::Tree& tree) {
  const std::string& path = request.path;
  if (path.size() > media::kMaxPath) {
    refuse_path(
        ENAMETOOLONG, path,
        fmt::format("the path has {} bytes; allowed: 1 to {}", path.size(), media::kMaxPath));
  }
  if (const auto problem = media::path_problem(path)) {
    refuse_path(EINVAL, path, fmt::format("the path is {}", *problem));
  }
  if (request.mode > media::kMaxMode) {
    refuse_path(EINVAL, path,
                fmt::format("mode is {:#o}; allowed: 0 to {:#o}", request.mode, media::kMaxMode));
  }
  if (!request.directory && request.size == 0) {
    refuse_path(EINVAL, path, "size is 0; allowed: 1 or more");
  }
  const size_t slash = path.rfind('/');
  const tree::Node* parent =
      tree.lookup_path(slash == std::string::npos ? "" : std::string_view(path).substr(0, slash));
  if (parent == nullptr) refuse_path(ENOENT, path, "its directory does not exist");
  if (!parent->directory) refuse_path(ENOTDIR, path, "what is above it is a file");
  if (tree.lookup_path(path) != nullptr) refuse_path(EEXIST, path, "it exists already");
}

}  // namespace

const char* to_string(Role role) noexcept { return role == Role::kMaster ? "master" : "client"; }

Volume::Volume(std::unique_ptr<memory::SharedMemory> memory, const media::Superblock& superblock,
               Role role, DeviceSource devices)
    : memory_(std::move(memory)),
      superblock_(superblock),
      role_(role),
      follower_(*memory_, superblock_, media_mutex_),
      devices_(superblock_, std::move(devices)),
      writer_(*memory_, superblock_),
      random_(std::random_device{}()) {}

std::unique_ptr<Volume> Volume::open(std::unique_ptr<memory::SharedMemory> memory,
                                     const OpenOptions& options) {
  const media::Superblock superblock = load_superblock(*memory);
  const bool master = superblock.system_uuid == options.system_uuid && !options.force_client;
  // Before the log is read: what another master appends meanwhile would be taken back below.
  if (master && options.lock_master) options.lock_master();
  DeviceSource devices = options.devices;
  if (!master) devices.claim = {};
  std::unique_ptr<Volume> volume(new Volume(
      std::move(memory), superblock, master ? Role::kMaster : Role::kClient, std::move(devices)));
  // famfs's rule: who is to write on a client is said there, by chmod(2).
  if (!master) volume->follower_.contents().tree.withhold(kWriteBits);
  volume->last_ = volume->follow();
  const auto& stopped = volume->last_.stopped;
  if (stopped && stopped->area == media::Area::kLogHeader) {
    throw base::Error(EUCLEAN, "{}: {}", volume->memory_->name(), media::to_string(*stopped));
  }
  if (master && volume->memory_->writable() && !stopped) {
    volume->complete_append(*volume->follower_.header());
  }
  return volume;
}

void Volume::check_current() const { follower_.check_current(); }

bool Volume::check_identity() { return follower_.check_identity(); }

RefreshResult Volume::refresh() {
  check_current();
  ++refreshes_;
  {
    const std::shared_lock state(state_mutex_);
    const auto header = follower_.read_header();
    if (header.value && header.value->next_index == follower_.reader().cursor()) return {};
  }
  const std::unique_lock state(state_mutex_);
  last_ = follow();
  note_foreign_entries();
  return last_;
}

std::optional<uint64_t> Volume::announced() {
  const std::shared_lock state(state_mutex_);
  const auto header = follower_.read_header();
  if (!header.value) return std::nullopt;
  return header.value->next_index;
}

RefreshResult Volume::follow() {
  RefreshResult result = follower_.follow();
  devices_.follow(follower_.contents().devices);
  return result;
}

bool Volume::present(uint64_t index) { return index == 0 || devices_.present(index); }

memory::SharedMemory& Volume::device(uint64_t index) {
  return index == 0 ? *memory_ : devices_.memory(index);
}

RefreshResult Volume::last_refresh() const {
  const std::shared_lock state(state_mutex_);
  return last_;
}

std::string Volume::other_master() const {
  const std::shared_lock state(state_mutex_);
  return other_master_;
}

void Volume::complete_append(const media::LogHeader& header) {
  const std::scoped_lock lock(media_mutex_);
  const uint64_t next = take_unannounced(follower_.reader(), header, follower_.contents()).next;
  if (header.next_seqnum == next && header.next_index == next) return;
  writer_.set_next(next);
  follower_.reader().advance(next);
  devices_.follow(follower_.contents().devices);
}

base::Error Volume::other_master_error() const {
  return {EROFS,
          "{} has another master with the identity of this host, {}: {}; nothing more is created "
          "here: find that host, unmount both, run `famfs fsck`, mount one",
          memory_->name(), superblock_.system_uuid.to_string(), other_master_};
}

void Volume::other_master_found(std::string evidence) {
  other_master_ = std::move(evidence);
  throw other_master_error();
}

// Only this mount appends, so what it did not write itself is of another master.
void Volume::note_foreign_entries() {
  if (role_ != Role::kMaster || last_.entries == 0 || !other_master_.empty()) return;
  other_master_ =
      fmt::format("{} log entries before {} were announced that this mount did not write",
                  last_.entries, follower_.reader().cursor());
}

media::EntryBody Volume::place(const CreateRequest& request, tree::NodeId owner) {
  if (request.directory) {
    return media::DirectoryEntry{request.path, request.uid, request.gid, request.mode};
  }
  alloc::Pool& space = follower_.contents().space;
  media::FileEntry file{.path = request.path,
                        .size = request.size,
                        .uid = request.uid,
                        .gid = request.gid,
                        .mode = request.mode,
                        .map = {}};
  file.map = request.interleave ? space.allocate(request.size, *request.interleave, owner, random_)
                                : space.allocate(request.size, owner);
  return file;
}

// The header as it is in memory now, which must count `next` entries.
media::LogHeader Volume::require_counters(uint64_t next) {
  const auto header = follower_.read_header();
  if (!header.value) {
    throw base::Error(EUCLEAN, "nothing can be created, as the log is damaged: {}",
                      media::to_string(*media::first_damage(header.findings)));
  }
  if (header.value->next_index == next && header.value->next_seqnum == next) return *header.value;
  other_master_found(
      fmt::format("next_seqnum and next_index are {} and {}, and this mount left them "
                  "at {}",
                  header.value->next_seqnum, header.value->next_index, next));
}

// A master that counted the entries before this one announced its own stores over them afterwards.
void Volume::require_last_append() {
  if (!last_append_) return;
  if (whole_entries(last_append_->index, std::span(&last_append_->body, 1)) == 1) return;
  other_master_found(
      fmt::format("log entry {} is not what this mount wrote there", last_append_->index));
}

void Volume::append(std::span<const media::EntryBody> bodies) {
  if (bodies.empty()) return;
  const uint64_t first = follower_.reader().cursor();
  // As late as can be: between here and the announcement another master is not seen.
  const media::LogHeader header = require_counters(first);
  uint64_t next = 0;
  {
    const std::scoped_lock lock(media_mutex_);
    next = writer_.store_entries(header, bodies);
  }
  // A fence orders what one device holds, not two that share an interleaved window: entries that
  // were loaded from memory are there before the counters, wherever these lie.
  const uint64_t whole = settle_entries(first, bodies);
  // Storing entries takes a while. Neither the log of another mkfs nor the count of another master
  // must announce them; and as the log of another mkfs has none of them, it is looked for first.
  require_counters(first);
  require_entries(first, whole, bodies.size());
  {
    const std::scoped_lock lock(media_mutex_);
    writer_.set_next(next);
  }
  verify_append(first, bodies);
  follower_.reader().advance(next);
  last_append_ = media::LogEntry{first, bodies.front()};
}

// How many entries in memory, from `first` on, are what appending `bodies` there stored.
uint64_t Volume::whole_entries(uint64_t first, std::span<const media::EntryBody> bodies) {
  const std::scoped_lock lock(media_mutex_);
  return follower_.reader().holds(first, bodies);
}

// The same. An entry in which lines of two masters have met is nobody's, and no reader gets past
// it: ours is put there again, as if it had come last.
uint64_t Volume::settle_entries(uint64_t first, std::span<const media::EntryBody> bodies) {
  uint64_t whole = whole_entries(first, bodies);
  for (size_t left = bodies.size(); left > 0 && whole < bodies.size(); --left) {
    check_current();  // another mkfs clears the log in pieces too, and its log must not get ours
    {
      const std::scoped_lock lock(media_mutex_);
      if (follower_.reader().read_entry(first + whole).value) break;
      writer_.store_again(first + whole, bodies[whole]);
    }
    whole = whole_entries(first, bodies);
  }
  return whole;
}

// `whole` entries in memory, of `count` that were stored from `first` on, are what was stored.
void Volume::require_entries(uint64_t first, uint64_t whole, uint64_t count) {
  if (whole == count) return;
  other_master_found(
      fmt::format("log entry {} is not what this mount has just written there", first + whole));
}

// What was announced is called created only if it is in memory, of this file system.
void Volume::verify_append(uint64_t first, std::span<const media::EntryBody> bodies) {
  const auto header = follower_.read_header();
  const uint64_t next = first + bodies.size();
  require_entries(first, settle_entries(first, bodies), bodies.size());
  if (!header.value || header.value->next_index < next) {
    other_master_found(
        fmt::format("next_index is not {}, which this mount has just written", next));
  }
}

std::vector<tree::NodeId> Volume::create(std::span<const CreateRequest> requests) {
  return create_locked(requests, true).nodes;
}

Volume::Created Volume::create_leading(std::span<const CreateRequest> requests) {
  return create_locked(requests, false);
}

void Volume::require_master() const {
  if (role_ == Role::kMaster) return;
  throw base::Error(EROFS, "only the master creates: this host is a client, the master is {}",
                    superblock_.system_uuid.to_string());
}

void Volume::begin_change() {
  check_current();
  last_ = follow();
  note_foreign_entries();
  if (!other_master_.empty()) throw other_master_error();
  if (last_.stopped) {
    throw base::Error(EUCLEAN, "nothing can be created, as the log is damaged: {}",
                      media::to_string(*last_.stopped));
  }
  require_last_append();
}

Volume::Created Volume::create_locked(std::span<const CreateRequest> requests, bool all_or_none) {
  require_master();
  const std::unique_lock state(state_mutex_);
  begin_change();
  // What this host does not have it cannot let anybody fill.
  for (uint64_t i = 1; i < follower_.contents().space.devices(); ++i) {
    follower_.contents().space.set_usable(i, devices_.present(i));
  }

  Contents& contents = follower_.contents();
  tree::Tree& tree = contents.tree;
  const Contents::Mark before = contents.mark();
  const uint64_t first = follower_.reader().cursor();
  Created created;
  try {
    std::vector<media::EntryBody> bodies;
    bodies.reserve(requests.size());
    for (const CreateRequest& request : requests) {
      try {
        check_request(request, tree);
        writer_.check_room(*follower_.header(), bodies.size() + 1);
        bodies.push_back(place(request, tree.count() + 1));
      } catch (const base::Error& error) {
        if (all_or_none) throw;
        created.refused = error;
        break;
      }
      // In the tree at once, so that later requests find their directories. check_request() has
      // excluded every reason for a refusal.
      tree.insert({first + bodies.size() - 1, bodies.back()});
    }
    append(bodies);
  } catch (...) {
    contents.rollback(before);
    throw;
  }
  for (tree::NodeId id = before.nodes + 1; id <= tree.count(); ++id) created.nodes.push_back(id);
  entries_appended_ += created.nodes.size();
  return created;
}

uint64_t Volume::add_device(std::unique_ptr<memory::SharedMemory> memory, bool force) {
  require_master();
  const std::unique_lock state(state_mutex_);
  begin_change();
  Contents& contents = follower_.contents();
  const uint64_t index = contents.devices.size() + 1;
  if (index >= media::kMaxDevices) {
    throw base::Error(ENOSPC, "there are {} devices; at most {} are allowed", index,
                      media::kMaxDevices);
  }
  writer_.check_room(*follower_.header(), 1);
  // One that an append which did not come to its end has left is taken again.
  const auto left = load_secondary(*memory);
  const bool ours = left.value && left.value->fs_uuid == superblock_.fs_uuid &&
                    std::none_of(contents.devices.begin(), contents.devices.end(),
                                 [&](const auto& d) { return d.uuid == left.value->device_uuid; });
  if (!ours &&
      media::is_same_file_system(memory->view(0, memory::kCacheLine), superblock_.fs_uuid)) {
    throw base::Error(EEXIST, "{} is in this file system already", memory->name());
  }
  auto claim = devices_.claim(memory->name());
  const media::DaxDeviceEntry device =
      format_device(*memory, superblock_, static_cast<uint32_t>(index), force || ours);
  const media::EntryBody body = device;
  const Contents::Mark before = contents.mark();
  contents.add({follower_.reader().cursor(), body});
  try {
    append(std::span(&body, 1));
  } catch (...) {
    contents.rollback(before);
    throw;
  }
  devices_.add(device, std::move(memory), std::move(claim));
  ++entries_appended_;
  return index;
}

tree::NodeId Volume::create_file(const CreateRequest& request) {
  return create(std::span(&request, 1)).front();
}

tree::NodeId Volume::make_directory(const CreateRequest& request) {
  return create(std::span(&request, 1)).front();
}

Volume::TreeView Volume::tree() const {
  check_current();
  return {std::shared_lock(state_mutex_), follower_.contents().tree};
}

void Volume::set_attributes(tree::NodeId id, const tree::Tree::Attributes& attributes) {
  const std::unique_lock state(state_mutex_);
  check_current();
  if (!follower_.contents().tree.set_attributes(id, attributes)) {
    throw base::Error(ENOENT, "there is no node {}", id);
  }
}

std::vector<tree::NodeState> Volume::node_states() const {
  const std::shared_lock state(state_mutex_);
  return follower_.contents().tree.states();
}

void Volume::restore(std::span<const tree::NodeState> states) {
  const std::unique_lock state(state_mutex_);
  if (!follower_.contents().tree.restore(states)) {
    throw base::Error(EPROTO, "the log gives other files than those that are mounted");
  }
}

SpaceNumbers Volume::space() const {
  const std::shared_lock state(state_mutex_);
  const Contents& contents = follower_.contents();
  return {.capacity = contents.space.capacity(),
          .used = contents.space.used(),
          .free = contents.space.free(),
          .files = contents.tree.files(),
          .directories = contents.tree.directories() - 1,
          .entries_used = follower_.reader().cursor(),
          .entries_capacity = media::log_capacity(superblock_.log_len),
          .alloc_unit = superblock_.alloc_unit};
}

Statistics Volume::statistics() const {
  return {.refreshes = refreshes_,
          .header_checks = follower_.header_checks(),
          .identity_checks = follower_.identity_checks(),
          .entries_read = follower_.entries_read(),
          .entries_skipped = follower_.entries_skipped(),
          .entries_appended = entries_appended_,
          .memory = memory_->counters()};
}

std::vector<tree::NodeId> Volume::files_at(uint64_t device, uint64_t offset,
                                           uint64_t length) const {
  const std::shared_lock state(state_mutex_);
  return follower_.contents().space.space(device).owners_within(offset, length);
}

}  // namespace famfs::volume
