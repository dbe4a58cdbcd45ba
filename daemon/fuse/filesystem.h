// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "fuse/message_hook.h"
#include "fuse/xattr.h"
#include "mapping/method.h"
#include "memory/held_lines.h"
#include "volume/volume.h"

namespace famfs::fuse {

// What another program has agreed with the kernel for a connection that this one goes on serving.
struct Agreed {
  InitExchange init;
  mapping::Given given;
};

struct Settings {
  std::string run_directory;  // what the xattr user.famfs.shadow answers
  std::string method;         // wanted mapping method, empty for the best
  double timeout_seconds =
      31536000;  // how long the kernel may keep names and attributes that exist
  // Opens a device that is to be added, as its path names it on this host.
  std::function<std::unique_ptr<memory::SharedMemory>(const std::string& path)> open_device{};
  memory::HeldLines* held_lines = nullptr;  // of this host; null where it has no devices
  std::optional<Agreed> agreed{};           // the connection is another program's until now
};

// The answers to FUSE requests: one member per operation, named after it.
//
// Every member either replies exactly once, as its last act, or throws base::Error before it has
// replied; the table of callbacks (operations()) turns the exception into the answer. Node ids come
// from the kernel and are looked up, never trusted. Nothing is counted per lookup, as nodes live as
// long as the mount: forget has nothing to do.
//
// Thread safety: init() runs before all others; the others at once from any number of threads.
class Filesystem final : private MessageClient {
 public:
  // `volume` must outlive this object.
  Filesystem(volume::Volume& volume, Settings settings);
  Filesystem(const Filesystem&) = delete;
  Filesystem& operator=(const Filesystem&) = delete;

  // For fuse_session_new() with this object as user data.
  static const fuse_lowlevel_ops& operations();

  // Called once when the kernel and this side are agreed: with null and method() set, or with what
  // stands against the mount.
  std::function<void(const base::Error*)> negotiated;

  // Null until the kernel has sent FUSE_INIT, and for ever if no method can be used. Takes no lock.
  const mapping::Method* method() const { return published_.load(std::memory_order_acquire); }
  // Why no better method was taken. Constant from negotiated() on.
  const std::string& passed_over() const { return passed_over_; }
  // What the kernel said in FUSE_INIT. Constant from negotiated() on.
  const std::optional<kmap::Offer>& offer() const { return hook_.offer(); }

  // For the program that is to serve this connection next. Once method() is set.
  Agreed agreed() const { return {hook_.init_exchange(), method_->given()}; }

  // Every message of the session goes through it.
  MessageHook& hook() { return hook_; }

  // The file system was replaced: gives out no more maps. The caller makes the kernel drop what it
  // has of the files afterwards.
  void withdraw();

  // Reads new log entries now and logs what it met. Throws base::Error.
  volume::RefreshResult refresh();

  void init(fuse_conn_info& connection);
  void lookup(fuse_req_t request, fuse_ino_t parent, const char* name);
  void getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info* file);
  void setattr(fuse_req_t request, fuse_ino_t node, struct stat* values, int which,
               fuse_file_info* file);
  void opendir(fuse_req_t request, fuse_ino_t node, fuse_file_info* file);
  void readdir(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
               fuse_file_info* file);
  void readdirplus(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
                   fuse_file_info* file);
  void open(fuse_req_t request, fuse_ino_t node, fuse_file_info* file);
  void read(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* file);
  void write(fuse_req_t request, fuse_ino_t node, const char* data, size_t size, off_t offset,
             fuse_file_info* file);
  void flush(fuse_req_t request, fuse_ino_t node, fuse_file_info* file);
  void fsync(fuse_req_t request, fuse_ino_t node, int data_only, fuse_file_info* file);
  void statfs(fuse_req_t request, fuse_ino_t node);
  void getxattr(fuse_req_t request, fuse_ino_t node, const char* name, size_t size);
  void listxattr(fuse_req_t request, fuse_ino_t node, size_t size);
  void mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode);
  void ioctl(fuse_req_t request, fuse_ino_t node, unsigned command, void* argument,
             fuse_file_info* file, unsigned flags, const void* in, size_t in_size, size_t out_size);

  void setxattr(fuse_req_t request, fuse_ino_t node, const char* name, const char* value,
                size_t size, int flags);
  void removexattr(fuse_req_t request, fuse_ino_t node, const char* name);

  // The log has no entry for such a change of names: EROFS on a client, `on_master` on the master.
  [[noreturn]] void refuse_names(const char* operation, int on_master) const;

 private:
  enum class Listing { kNames, kAttributes };

  kmap::InitAnswer init_answer() const override;
  void init_answered(int fuse_fd) noexcept override;
  void init_differs() noexcept override;
  std::optional<std::vector<std::byte>> answer_unknown(const kmap::Request& request) override;

  void list(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, Listing listing);
  fuse_entry_param entry(const tree::Node& node) const;
  struct stat attributes(const tree::Node& node) const;
  double attribute_timeout(const tree::Node& node) const;
  // Throws ESTALE for a node that does not exist, and once the file system was replaced.
  void check_node(fuse_ino_t node) const;
  [[noreturn]] void refuse_xattr(fuse_ino_t node, const char* name) const;
  void hold(const std::vector<media::Extent>& extents);
  std::string child_path(tree::NodeId parent, const std::string& name) const;
  // What `act` returns, which makes something through the volume.
  template <typename Act>
  auto create(Act act);
  tree::NodeId make_directory(const volume::CreateRequest& request);
  void log_other_master();

  template <typename Request, typename Act>
  void answer_ioctl(fuse_req_t request, const void* in, size_t in_size, size_t out_size, Act act);

  volume::Volume& volume_;
  const Settings settings_;
  MessageHook hook_{*this};
  std::unique_ptr<mapping::Method> method_;
  std::atomic<mapping::Method*> published_ = nullptr;  // method_, for other threads
  std::string passed_over_;
  std::atomic<bool> stop_logged_ = false;  // that the log cannot be followed further
  std::atomic<bool> other_master_logged_ = false;
};

}  // namespace famfs::fuse
