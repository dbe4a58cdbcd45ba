// SPDX-License-Identifier: Apache-2.0
#include "cli/handover.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <type_traits>

#include "base/error.h"
#include "base/mapping.h"

namespace famfs::cli {
namespace {

constexpr std::uint64_t kMagic = 0x7265766f646e6148;  // "Handover"

static_assert(std::has_unique_object_representations_v<tree::NodeState>);

class Writer {
 public:
  void number(std::uint64_t value) { append(std::as_bytes(std::span(&value, 1))); }
  template <typename T>
  void array(std::span<const T> values) {
    static_assert(std::is_trivially_copyable_v<T>);
    number(values.size());
    append(std::as_bytes(values));
  }
  void text(const std::string& value) { array(std::span<const char>(value)); }

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  void append(std::span<const std::byte> more) {
    bytes_.insert(bytes_.end(), more.begin(), more.end());
  }

  std::vector<std::byte> bytes_;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : left_(bytes) {}

  std::uint64_t number() {
    std::uint64_t value = 0;
    take(std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  template <typename T>
  std::vector<T> array() {
    const std::uint64_t count = number();
    if (count > left_.size() / sizeof(T)) fail();
    std::vector<T> values(count);
    take(std::as_writable_bytes(std::span(values)));
    return values;
  }
  std::string text() {
    const auto letters = array<char>();
    return {letters.begin(), letters.end()};
  }
  [[noreturn]] static void fail() {
    throw base::Error(EPROTO, "what the program before this one left cannot be read");
  }
  bool at_end() const { return left_.empty(); }

 private:
  void take(std::span<std::byte> to) {
    if (to.size() > left_.size()) fail();
    if (to.empty()) return;
    std::memcpy(to.data(), left_.data(), to.size());
    left_ = left_.subspan(to.size());
  }

  std::span<const std::byte> left_;
};

}  // namespace

base::FileDescriptor write_handover(const Handover& handover) {
  Writer writer;
  writer.number(kMagic);
  writer.number(kHandoverVersion);
  writer.number(static_cast<std::uint64_t>(handover.fuse_fd));
  writer.number(static_cast<std::uint64_t>(handover.lock_fd));
  writer.number(handover.foreground ? 1 : 0);
  writer.text(handover.directory);
  writer.text(handover.method);
  writer.array(std::span<const std::byte>(handover.agreed.init.request));
  writer.array(std::span<const std::byte>(handover.agreed.init.reply));
  writer.array(std::span<const std::uint32_t>(handover.agreed.given.devices));
  writer.array(std::span<const tree::NodeId>(handover.agreed.given.maps));
  writer.number(handover.loans.size());
  for (const auto& [device, driver] : handover.loans) {
    writer.text(device);
    writer.text(driver);
  }
  writer.array(std::span<const tree::NodeState>(handover.nodes));

  base::FileDescriptor file(memfd_create("famfs handover", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) throw base::system_error("memfd_create");
  base::write_all(file.get(), "what the next program needs", writer.bytes());
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
  if (fcntl(file.get(), F_ADD_SEALS, kSeals) != 0) throw base::system_error("F_ADD_SEALS");
  return file;
}

Handover read_handover(int fd) {
  // Without the seals it could shrink while it is mapped.
  const int seals = fcntl(fd, F_GET_SEALS);
  struct stat attributes = {};
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(fd, &attributes) != 0 ||
      attributes.st_size == 0) {
    Reader::fail();
  }
  const auto size = static_cast<std::uint64_t>(attributes.st_size);
  const auto mapping = base::Mapping::copy_on_write(fd, size);
  Reader reader(std::span<const std::byte>(mapping.data(), size));
  if (reader.number() != kMagic || reader.number() != kHandoverVersion) Reader::fail();
  Handover handover;
  handover.fuse_fd = static_cast<int>(reader.number());
  handover.lock_fd = static_cast<int>(reader.number());
  handover.foreground = reader.number() != 0;
  handover.directory = reader.text();
  handover.method = reader.text();
  handover.agreed.init.request = reader.array<std::byte>();
  handover.agreed.init.reply = reader.array<std::byte>();
  handover.agreed.given.devices = reader.array<std::uint32_t>();
  handover.agreed.given.maps = reader.array<tree::NodeId>();
  for (std::uint64_t left = reader.number(); left > 0; --left) {
    std::string device = reader.text();
    handover.loans.emplace_back(std::move(device), reader.text());
  }
  handover.nodes = reader.array<tree::NodeState>();
  if (!reader.at_end()) Reader::fail();
  return handover;
}

}  // namespace famfs::cli
