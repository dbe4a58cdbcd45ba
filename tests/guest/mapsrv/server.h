// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "mapsrv/abi.h"

namespace mapsrv {

// A method by its letter: `a` the kernel asks with GET_FMAP, `e` the server sends maps.
enum class Method : char { kFmap = 'a', kBacking = 'e' };

// What the server says of one file.
struct File {
  std::string name{};
  std::uint64_t node = 0;
  std::uint64_t size = 0;
  std::vector<std::byte> fmap{};  // method (a): answer to GET_FMAP
  bool header_first = false;      // method (a): the first request gets the header alone
  std::uint64_t backing = 0;      // method (e): named in the answer to OPEN; 0: not mapped
};

// Ways in which a server may be wrong.
struct Misbehaviour {
  bool takes_unoffered = false;      // says in FUSE_INIT that it uses what the kernel did not offer
  std::string name_of_others{};      // (a) GET_DAXDEV for an index without a device; empty: ENODEV
  std::uint16_t index_shift = 0;     // (a) added to the index in the answer to GET_DAXDEV
  std::atomic<int> withdrawals = 0;  // (a) so many times, a map is withdrawn while it is on its way
  std::size_t open_size = sizeof(abi::OpenOut);  // (e) of the answer to OPEN
};

inline const char* const kMountPoint = "/tmp/mapsrv";
// What the server gives for a byte of a file that is not mapped.
inline constexpr char kServed = 'o';

// A FUSE server and its mount. It answers in a thread of its own, from what the Files say at that
// moment. A File changes only between system calls on the mount: then no message is under way.
class Server {
 public:
  // Mounts. Throws CannotGoOn.
  Server(Method method, std::vector<std::string> devices, bool takes_unoffered = false);
  // Ends the connection if need be and unmounts.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int fuse() const { return fuse_; }
  const std::vector<std::string>& devices() const { return devices_; }
  // The flags of FUSE_INIT that the kernel offered.
  std::uint64_t offered() const { return offered_; }

  File& add(const std::string& name, std::uint64_t size = 0);

  // Messages of an opcode so far, and of all.
  int messages(std::uint32_t opcode) const { return counts_.at(opcode); }
  int messages() const;

  // Changes under the same rule as a File.
  Misbehaviour misbehaviour{};

  // Sends a notification. 0 or an errno.
  int notify(int code, std::span<const std::byte> head, std::span<const std::byte> data = {}) const;
  // Withdraws the map of a file. 0 or an errno: EBUSY, withdrawn, but a page is pinned.
  int withdraw(std::uint64_t node) const;

 private:
  void serve();
  void answer(const fuse_in_header& header, const std::byte* body);
  void answer_init(const fuse_in_header& header, const fuse_init_in& in);
  void answer_lookup(const fuse_in_header& header, const char* name);
  void answer_open(const fuse_in_header& header);
  void answer_get_fmap(const fuse_in_header& header);
  void answer_get_daxdev(const fuse_in_header& header);
  void reply(const fuse_in_header& header, int error, const void* data = nullptr,
             std::size_t size = 0) const;
  fuse_attr attributes(std::uint64_t node) const;
  const File* file(std::uint64_t node) const;

  const Method method_;
  const std::vector<std::string> devices_;
  std::deque<File> files_;  // node 2 is the first
  std::array<std::atomic<int>, 64> counts_{};
  std::atomic<std::uint64_t> offered_ = 0;
  int fuse_ = -1;
  std::thread thread_;
};

// The bytes of a structure.
template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

}  // namespace mapsrv
