// SPDX-License-Identifier: Apache-2.0
#include "fuse/filesystem.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <map>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "fuse/caller.h"
#include "fuse/ioctl.h"
#include "media/finding.h"
#include "media/layout.h"
#include "media/path.h"

namespace famfs::fuse {
namespace {

constexpr std::uint32_t kPermissionBits = 07777;
constexpr blksize_t kPreferredTransfer = 1 << 20;
constexpr std::size_t kLargestListing = 1U << 20;  // bytes of one readdir answer
constexpr unsigned kStatBlock = 512;               // unit of st_blocks
// A directory's links and times change when another host adds to it, which raises no event here.
constexpr double kDirectoryTimeout = 1;

// Names come from the log, and so from another host: they may hold any bytes.
std::string printable_path(const tree::Tree& tree, tree::NodeId id) {
  return media::printable(tree.path_of(id));
}

const tree::Node& require(const tree::Tree& tree, fuse_ino_t id) {
  const tree::Node* node = tree.find(id);
  // The kernel only sends ids that it was given; anything else is of another mount or damage.
  if (node == nullptr) throw base::Error(ESTALE, "node {} does not exist", id);
  return *node;
}

const tree::Node& require_directory(const tree::Tree& tree, fuse_ino_t id) {
  const tree::Node& node = require(tree, id);
  if (!node.directory) {
    throw base::Error(ENOTDIR, "/{} is not a directory", printable_path(tree, id));
  }
  return node;
}

const tree::Node& require_file(const tree::Tree& tree, fuse_ino_t id) {
  const tree::Node& node = require(tree, id);
  if (node.directory) throw base::Error(EISDIR, "/{} is a directory", printable_path(tree, id));
  return node;
}

// Offsets are signed on the wire; the kernel sends none below 0, another sender might.
std::uint64_t require_offset(off_t offset) {
  if (offset < 0) throw base::Error(EINVAL, "offset {} is negative", offset);
  return static_cast<std::uint64_t>(offset);
}

timespec now() {
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  return time;
}

// The name in a request, ended by its NUL or the end of the field.
template <std::size_t Size>
std::string name_of(const char (&field)[Size]) {
  return std::string(field, strnlen(field, Size));
}

void set_status(ioctl::Status& status, int error, std::string_view message) {
  status.version = ioctl::kVersion;
  status.error = error;
  std::memset(status.message, 0, sizeof(status.message));
  message.copy(status.message, sizeof(status.message) - 1);
}

// The kernel asks with size 0 for the length.
void answer_attribute(fuse_req_t request, std::string_view value, std::size_t size) {
  if (size == 0) {
    fuse_reply_xattr(request, value.size());
  } else if (size < value.size()) {
    // Not thrown: other than our own, this ERANGE is a mistake of the caller, and not for the log.
    fuse_reply_err(request, ERANGE);
  } else {
    fuse_reply_buf(request, value.data(), value.size());
  }
}

}  // namespace

Filesystem::Filesystem(volume::Volume& volume, Settings settings)
    : volume_(volume), settings_(std::move(settings)) {
  if (settings_.agreed) hook_.resume(settings_.agreed->init);
}

void Filesystem::init(fuse_conn_info& connection) {
  // With it the kernel would open with O_TRUNC and we would have to undo the open; without, it
  // asks for a change of size first, which we refuse.
  connection.want &= ~static_cast<unsigned>(FUSE_CAP_ATOMIC_O_TRUNC);
  try {
    kmap::Offer offer{connection.proto_major, connection.proto_minor};
    if (hook_.offer()) offer = *hook_.offer();
    mapping::Choice choice = mapping::negotiate(offer, settings_.method, volume_);
    choice.method->init(connection);
    passed_over_ = std::move(choice.passed_over);
    method_ = std::move(choice.method);
    published_.store(method_.get(), std::memory_order_release);
  } catch (const base::Error& error) {
    negotiated(&error);
  }
}

kmap::InitAnswer Filesystem::init_answer() const {
  return method_ ? method_->init_answer() : kmap::InitAnswer{};
}

void Filesystem::init_answered(int fuse_fd) noexcept {
  // Without a method the mount is refused already.
  if (!method_) return;
  try {
    if (settings_.agreed) {
      method_->resumed(fuse_fd, settings_.agreed->given);
    } else {
      method_->connected(fuse_fd);
    }
    negotiated(nullptr);
  } catch (const base::Error& error) {
    negotiated(&error);
  } catch (const std::exception& error) {
    const base::Error failure(EIO, error.what());
    negotiated(&failure);
  }
}

void Filesystem::init_differs() noexcept {
  if (!method_) return;  // said already
  const base::Error error(EPROTO,
                          "this program speaks with the kernel otherwise than the one before it; "
                          "unmount and mount to use it");
  negotiated(&error);
}

std::optional<std::vector<std::byte>> Filesystem::answer_unknown(const kmap::Request& request) {
  if (!method_) return std::nullopt;
  return method_->answer(request);
}

void Filesystem::withdraw() {
  if (mapping::Method* method = published_.load(std::memory_order_acquire)) method->withdraw();
}

volume::RefreshResult Filesystem::refresh() {
  volume::RefreshResult result = volume_.refresh();
  for (const media::Finding& notice : result.notices) {
    spdlog::warn("skipped: {}", media::to_string(notice));
  }
  // Said once: every lookup of a missing name comes here.
  if (result.stopped && !stop_logged_.exchange(true)) {
    spdlog::error("the log cannot be followed further: {}; run `famfs fsck`",
                  media::to_string(*result.stopped));
  }
  if (!result.stopped) stop_logged_ = false;
  log_other_master();
  if (result.new_nodes > 0) {
    spdlog::debug("{} log entries read, {} new nodes", result.entries, result.new_nodes);
  }
  return result;
}

struct stat Filesystem::attributes(const tree::Node& node) const {
  struct stat result = {};
  result.st_ino = node.id;
  result.st_mode = (node.directory ? S_IFDIR : S_IFREG) | (node.mode & kPermissionBits);
  result.st_nlink = node.directory ? 2 + node.subdirectories : 1;
  result.st_uid = node.uid;
  result.st_gid = node.gid;
  result.st_size = static_cast<off_t>(node.size);
  result.st_blksize = kPreferredTransfer;
  result.st_blocks = static_cast<blkcnt_t>(node.size / kStatBlock + (node.size % kStatBlock != 0));
  result.st_atim = node.access_time;
  result.st_mtim = node.modification_time;
  result.st_ctim = node.change_time;
  return result;
}

double Filesystem::attribute_timeout(const tree::Node& node) const {
  return node.directory ? std::min(settings_.timeout_seconds, kDirectoryTimeout)
                        : settings_.timeout_seconds;
}

fuse_entry_param Filesystem::entry(const tree::Node& node) const {
  fuse_entry_param result{};
  result.ino = node.id;
  result.attr = attributes(node);
  // Entries never go away or change in the log, so what exists may be kept; what does not exist
  // is answered with ENOENT, which the kernel does not keep.
  result.attr_timeout = attribute_timeout(node);
  result.entry_timeout = settings_.timeout_seconds;
  return result;
}

void Filesystem::lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  for (const bool refreshed : {false, true}) {
    fuse_entry_param found{};
    {
      const auto tree = volume_.tree();
      require_directory(*tree, parent);
      if (const tree::Node* node = tree->lookup(parent, name); node != nullptr) {
        found = entry(*node);
      }
    }
    if (found.ino != 0) {
      fuse_reply_entry(request, &found);
      return;
    }
    // Another host may have made it since we last looked.
    if (!refreshed) refresh();
  }
  throw base::Error(ENOENT, "\"{}\" is not in node {}", media::printable(name), parent);
}

void Filesystem::getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info* /*file*/) {
  struct stat result = {};
  double timeout = 0;
  for (const bool refreshed : {false, true}) {
    {
      const auto tree = volume_.tree();
      const tree::Node& found = require(*tree, node);
      result = attributes(found);
      timeout = attribute_timeout(found);
      if (!found.directory) break;
    }
    // Another host may have added to it since we last looked.
    if (!refreshed) refresh();
  }
  fuse_reply_attr(request, &result, timeout);
}

void Filesystem::setattr(fuse_req_t request, fuse_ino_t node, struct stat* values, int which,
                         fuse_file_info* file) {
  check_node(node);
  if ((which & FUSE_SET_ATTR_SIZE) != 0) {
    const auto tree = volume_.tree();
    const tree::Node& existing = require_file(*tree, node);
    if (static_cast<std::uint64_t>(values->st_size) != existing.size) {
      throw base::Error(EPERM,
                        "/{}: the size cannot be changed from {} to {}; a famfs file keeps "
                        "the size that it was created with",
                        printable_path(*tree, node), existing.size, values->st_size);
    }
  }
  tree::Tree::Attributes changes;
  if ((which & FUSE_SET_ATTR_MODE) != 0) changes.mode = values->st_mode & kPermissionBits;
  if ((which & FUSE_SET_ATTR_UID) != 0) changes.uid = values->st_uid;
  if ((which & FUSE_SET_ATTR_GID) != 0) changes.gid = values->st_gid;
  if ((which & FUSE_SET_ATTR_ATIME) != 0) changes.access_time = values->st_atim;
  if ((which & FUSE_SET_ATTR_ATIME_NOW) != 0) changes.access_time = now();
  if ((which & FUSE_SET_ATTR_MTIME) != 0) changes.modification_time = values->st_mtim;
  if ((which & FUSE_SET_ATTR_MTIME_NOW) != 0) changes.modification_time = now();
  volume_.set_attributes(node, changes);
  getattr(request, node, file);
}

void Filesystem::opendir(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
  {
    const auto tree = volume_.tree();
    require_directory(*tree, node);
  }
  // Nothing is kept of a listing, so that new entries appear in the next one.
  file->cache_readdir = 0;
  file->keep_cache = 0;
  fuse_reply_open(request, file);
}

// Positions: 0 is ".", 1 is "..", child i is i + 2. Children are only ever added at the end, so a
// position stays right while a listing is read in pieces.
void Filesystem::list(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
                      Listing listing) {
  std::uint64_t position = require_offset(offset);
  if (position == 0) refresh();
  std::vector<char> buffer(std::min(size, kLargestListing));
  std::size_t used = 0;
  {
    const auto tree = volume_.tree();
    const tree::Node& directory = require_directory(*tree, node);
    const auto add = [&](const char* name, const tree::Node& child, bool counted) {
      const std::span<char> room = std::span(buffer).subspan(used);
      const auto next = static_cast<off_t>(position + 1);
      fuse_entry_param param = entry(child);
      std::size_t need = 0;
      if (listing == Listing::kNames) {
        need = fuse_add_direntry(request, room.data(), room.size(), name, &param.attr, next);
      } else {
        // Node id 0 tells the kernel not to take "." and ".." as a lookup.
        if (!counted) param.ino = 0;
        need = fuse_add_direntry_plus(request, room.data(), room.size(), name, &param, next);
      }
      if (need > room.size()) return false;
      used += need;
      ++position;
      return true;
    };
    bool fits = true;
    if (position == 0) fits = add(".", directory, false);
    if (fits && position == 1) fits = add("..", require(*tree, directory.parent), false);
    while (fits && position - 2 < directory.children.size()) {
      const tree::Node& child = require(*tree, directory.children[position - 2]);
      fits = add(child.name.c_str(), child, true);
    }
  }
  fuse_reply_buf(request, buffer.data(), used);
}

void Filesystem::readdir(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
                         fuse_file_info* /*file*/) {
  list(request, node, size, offset, Listing::kNames);
}

void Filesystem::readdirplus(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
                             fuse_file_info* /*file*/) {
  list(request, node, size, offset, Listing::kAttributes);
}

// After the log has named the file, and before a program can load from it.
void Filesystem::hold(const std::vector<media::Extent>& extents) {
  if (settings_.held_lines == nullptr) return;
  std::map<std::string, std::vector<memory::Range>> ranges;
  for (const media::Extent& extent : extents) {
    // Of a device that is missing nothing can be loaded.
    if (!volume_.present(extent.device_index)) continue;
    ranges[volume_.device(extent.device_index).name()].push_back({extent.offset, extent.length});
  }
  for (const auto& [device, parts] : ranges) {
    if (method_->loads_past_daemon()) {
      settings_.held_lines->take(device, parts);
    } else {
      settings_.held_lines->note(device, parts);
    }
  }
}

void Filesystem::open(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
  // Maps must not be used on a device that was formatted since: one line tells.
  volume_.check_identity();
  std::vector<media::Extent> extents;
  {
    const auto tree = volume_.tree();
    extents = require_file(*tree, node).map.extents;
  }
  hold(extents);
  if (const std::uint64_t backing = method_->open(node, *file); backing != 0) {
    MessageHook::name_backing(backing);
  }
  fuse_reply_open(request, file);
}

void Filesystem::read(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
                      fuse_file_info* /*file*/) {
  volume_.check_identity();
  method_->read(request, node, require_offset(offset), size);
}

void Filesystem::write(fuse_req_t request, fuse_ino_t node, const char* data, size_t size,
                       off_t offset, fuse_file_info* /*file*/) {
  // The same as at open: what was put into the files of another mkfs must not be called written.
  volume_.check_identity();
  method_->write(request, node, require_offset(offset), std::as_bytes(std::span(data, size)));
}

void Filesystem::check_node(fuse_ino_t node) const { require(*volume_.tree(), node); }

void Filesystem::flush(fuse_req_t request, fuse_ino_t node, fuse_file_info* /*file*/) {
  check_node(node);
  // Writes are in shared memory before they are answered; close(2) has nothing left to do.
  fuse_reply_err(request, 0);
}

void Filesystem::fsync(fuse_req_t request, fuse_ino_t node, int /*data_only*/,
                       fuse_file_info* /*file*/) {
  check_node(node);
  method_->flush(node);
  fuse_reply_err(request, 0);
}

void Filesystem::statfs(fuse_req_t request, fuse_ino_t node) {
  check_node(node);
  const volume::SpaceNumbers space = volume_.space();
  struct statvfs result = {};
  result.f_bsize = kPreferredTransfer;
  result.f_frsize = space.alloc_unit;
  result.f_blocks = space.capacity / space.alloc_unit;
  result.f_bfree = space.free / space.alloc_unit;
  result.f_bavail = result.f_bfree;
  // Each log entry can become one file or directory.
  result.f_files = space.entries_capacity;
  result.f_ffree = space.entries_capacity - std::min(space.entries_capacity, space.entries_used);
  result.f_favail = result.f_ffree;
  result.f_namemax = media::kMaxPath;
  fuse_reply_statfs(request, &result);
}

void Filesystem::getxattr(fuse_req_t request, fuse_ino_t node, const char* name, size_t size) {
  answer_attribute(request, xattr_value({volume_, *method_, settings_.run_directory}, node, name),
                   size);
}

void Filesystem::listxattr(fuse_req_t request, fuse_ino_t node, size_t size) {
  answer_attribute(request, xattr_names(volume_, node), size);
}

void Filesystem::refuse_xattr(fuse_ino_t node, const char* name) const {
  check_node(node);
  if (std::string_view(name).starts_with(kXattrPrefix)) {
    throw base::Error(EPERM, "{} is what famfs says and cannot be set", media::printable(name));
  }
  throw base::Error(EOPNOTSUPP, "famfs keeps no attributes such as {}", media::printable(name));
}

void Filesystem::setxattr(fuse_req_t /*request*/, fuse_ino_t node, const char* name,
                          const char* /*value*/, size_t /*size*/, int /*flags*/) {
  refuse_xattr(node, name);
}

void Filesystem::removexattr(fuse_req_t /*request*/, fuse_ino_t node, const char* name) {
  refuse_xattr(node, name);
}

std::string Filesystem::child_path(tree::NodeId parent, const std::string& name) const {
  const auto tree = volume_.tree();
  require_directory(*tree, parent);
  const std::string directory = tree->path_of(parent);
  return directory.empty() ? name : directory + "/" + name;
}

// Said once, by whoever meets it first.
void Filesystem::log_other_master() {
  const std::string evidence = volume_.other_master();
  if (evidence.empty() || other_master_logged_.exchange(true)) return;
  spdlog::error(
      "another host is master of this file system with this host's identity: {}; nothing "
      "more is created here",
      evidence);
}

template <typename Act>
auto Filesystem::create(Act act) {
  try {
    return act();
  } catch (...) {
    log_other_master();
    throw;
  }
}

tree::NodeId Filesystem::make_directory(const volume::CreateRequest& request) {
  const tree::NodeId id = create([&] { return volume_.make_directory(request); });
  spdlog::debug("created /{} as node {}", media::printable(request.path), id);
  return id;
}

void Filesystem::mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  volume::CreateRequest wanted;
  wanted.path = child_path(parent, name);
  wanted.directory = true;
  wanted.mode = mode & kPermissionBits;
  wanted.uid = fuse_req_ctx(request)->uid;
  wanted.gid = fuse_req_ctx(request)->gid;
  const tree::NodeId id = make_directory(wanted);
  fuse_entry_param made{};
  {
    const auto tree = volume_.tree();
    made = entry(require(*tree, id));
  }
  fuse_reply_entry(request, &made);
}

void Filesystem::refuse_names(const char* operation, int on_master) const {
  if (volume_.role() == volume::Role::kClient) {
    throw base::Error(EROFS, "{}: this host is a client of this famfs; only its master changes it",
                      operation);
  }
  throw base::Error(on_master,
                    "{}: famfs has no such operation; files are made with `famfs creat` "
                    "or `famfs cp`, directories with mkdir",
                    operation);
}

template <typename Request, typename Act>
void Filesystem::answer_ioctl(fuse_req_t request, const void* in, size_t in_size, size_t out_size,
                              Act act) {
  if (in_size != sizeof(Request) || out_size != sizeof(Request)) {
    throw base::Error(ENOTTY, "a request of {} bytes in and {} out; {} are allowed", in_size,
                      out_size, sizeof(Request));
  }
  Request body;
  std::memcpy(&body, in, sizeof(body));
  try {
    if (body.status.version != ioctl::kVersion) {
      throw base::Error(EPROTONOSUPPORT,
                        "the request has version {}, this daemon speaks {}; use the famfs program "
                        "that the daemon was installed with",
                        body.status.version, ioctl::kVersion);
    }
    act(body);
    set_status(body.status, 0, "");
  } catch (const base::Error& error) {
    // Any user can ask; at a level that is logged, so could any user fill the log.
    spdlog::debug("request refused: {}", error.what());
    set_status(body.status, error.code(), error.what());
  }
  fuse_reply_ioctl(request, 0, &body, sizeof(body));
}

void Filesystem::ioctl(fuse_req_t request, fuse_ino_t node, unsigned command, void* /*argument*/,
                       fuse_file_info* /*file*/, unsigned /*flags*/, const void* in, size_t in_size,
                       size_t out_size) {
  // Checks who asks before anything is changed.
  const auto authorize = [&](const std::string& name, std::uint32_t uid, std::uint32_t gid) {
    const Caller caller = Caller::of(request);
    const auto tree = volume_.tree();
    if (!caller.may_create_in(require_directory(*tree, node))) {
      throw base::Error(EACCES, "user {} may not create \"{}\" in /{}: no write permission there",
                        caller.uid, media::printable(name), printable_path(*tree, node));
    }
    if (!caller.may_own(uid, gid)) {
      throw base::Error(EPERM,
                        "user {} may not create \"{}\" for user {} and group {}; only root "
                        "may give files to others",
                        caller.uid, media::printable(name), uid, gid);
    }
  };
  const auto checked_name = [](std::string name) {
    if (name.find('/') != std::string::npos) {
      throw base::Error(EINVAL, "\"{}\" is a path; one name is allowed", media::printable(name));
    }
    return name;
  };

  switch (command) {
    case ioctl::kCreateFiles:
      answer_ioctl<ioctl::CreateFiles>(
          request, in, in_size, out_size, [&](ioctl::CreateFiles& body) {
            body.created = 0;
            if (body.count == 0 || body.count > ioctl::kBatch) {
              throw base::Error(EINVAL, "a request of {} files; allowed: 1 to {}", body.count,
                                ioctl::kBatch);
            }
            std::vector<volume::CreateRequest> wanted;
            std::optional<base::Error> refused;
            try {
              for (const ioctl::NewFile& file : std::span(body.file).first(body.count)) {
                const std::string name = checked_name(name_of(file.name));
                authorize(name, file.uid, file.gid);
                wanted.push_back({.path = child_path(node, name),
                                  .mode = file.mode,
                                  .uid = file.uid,
                                  .gid = file.gid,
                                  .size = file.size});
                if (file.strips != 0) {
                  wanted.back().interleave =
                      alloc::Interleave{file.buckets, file.strips, file.chunk_size};
                }
              }
            } catch (const base::Error& error) {
              refused = error;
            }
            if (!wanted.empty()) {
              volume::Volume::Created made = create([&] { return volume_.create_leading(wanted); });
              body.created = static_cast<std::uint32_t>(made.nodes.size());
              spdlog::debug("created {} files in node {}", body.created, node);
              if (made.refused) refused = std::move(made.refused);
            }
            if (refused) throw base::Error(*refused);
          });
      return;
    case ioctl::kMakeDirectory:
      answer_ioctl<ioctl::MakeDirectory>(
          request, in, in_size, out_size, [&](ioctl::MakeDirectory& body) {
            const std::string name = checked_name(name_of(body.name));
            authorize(name, body.uid, body.gid);
            volume::CreateRequest wanted;
            wanted.path = child_path(node, name);
            wanted.directory = true;
            wanted.mode = body.mode;
            wanted.uid = body.uid;
            wanted.gid = body.gid;
            make_directory(wanted);
          });
      return;
    case ioctl::kRefresh:
      answer_ioctl<ioctl::Refresh>(request, in, in_size, out_size, [&](ioctl::Refresh& body) {
        const volume::RefreshResult result = refresh();
        const volume::Statistics statistics = volume_.statistics();
        body.played = result.entries;
        body.entries = statistics.entries_read;
        body.skipped = statistics.entries_skipped;
        if (result.stopped) {
          throw base::Error(EUCLEAN, "{} log entries played, then stopped: {}",
                            statistics.entries_read, media::to_string(*result.stopped));
        }
      });
      return;
    case ioctl::kGetMap:
      answer_ioctl<ioctl::GetMap>(request, in, in_size, out_size, [&](ioctl::GetMap& body) {
        const auto tree = volume_.tree();
        const tree::Node& file = require_file(*tree, node);
        body.size = file.size;
        body.chunk_size = file.map.chunk_size;
        method_->name().copy(body.method, sizeof(body.method) - 1);
        body.extents = 0;
        for (const media::Extent& extent : file.map.extents) {
          if (body.extents == ioctl::kExtents) break;  // the format holds no more
          body.extent[body.extents++] = {extent.device_index, extent.offset, extent.length};
        }
      });
      return;
    case ioctl::kGetWindow:
      answer_ioctl<ioctl::GetWindow>(request, in, in_size, out_size, [&](ioctl::GetWindow& body) {
        if (body.device > volume_.devices().size()) {
          throw base::Error(ENOENT, "there is no device {}", body.device);
        }
        const memory::SharedMemory& memory = volume_.device(body.device);
        body.device_size = memory.size();
        body.pid = static_cast<std::uint32_t>(getpid());
        body.parts = 0;
        for (const memory::SharedPart& part : memory.share()) {
          if (body.parts == ioctl::kWindowParts) break;  // superblock and log are two
          body.part[body.parts++] = {part.offset, part.length, part.fd, 0};
        }
      });
      return;
    case ioctl::kAddDevice:
      answer_ioctl<ioctl::AddDevice>(request, in, in_size, out_size, [&](ioctl::AddDevice& body) {
        const std::string path = name_of(body.path);
        const Caller caller = Caller::of(request);
        // The daemon opens the path with its own rights.
        if (caller.uid != 0 && caller.uid != geteuid()) {
          throw base::Error(EPERM, "user {} may not add {}; only root may", caller.uid,
                            media::printable(path));
        }
        if (!path.starts_with('/')) {
          throw base::Error(EINVAL, "\"{}\" is not an absolute path", media::printable(path));
        }
        if (!settings_.open_device) throw base::Error(EOPNOTSUPP, "this mount takes no devices");
        body.index = static_cast<std::uint32_t>(
            volume_.add_device(settings_.open_device(path), body.force != 0));
        spdlog::info("{} is device {} now", path, body.index);
      });
      return;
    case ioctl::kGetDevice:
      answer_ioctl<ioctl::GetDevice>(request, in, in_size, out_size, [&](ioctl::GetDevice& body) {
        const auto devices = volume_.devices();
        if (body.index == 0 || body.index > devices.size()) {
          throw base::Error(ENOENT, "there is no further device {}; there are {}", body.index,
                            devices.size());
        }
        const volume::DeviceState& device = devices[body.index - 1];
        const std::string& text = device.path.empty() ? device.reason : device.path;
        body.missing = device.path.empty() ? 1 : 0;
        body.size = device.entry.size;
        std::memcpy(body.uuid, device.entry.uuid.bytes.data(), sizeof(body.uuid));
        std::memset(body.path, 0, sizeof(body.path));
        text.copy(body.path, sizeof(body.path) - 1);
      });
      return;
    default:
      throw base::Error(ENOTTY, "ioctl {:#x} is not known", command);
  }
}

}  // namespace famfs::fuse
