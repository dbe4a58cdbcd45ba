// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mapsrv/fmap.h"
#include "mapsrv/server.h"

namespace mapsrv {

inline constexpr std::uint64_t kMebi = 1 << 20;

// A mount whose files have maps by one method or the other: what a group of checks works on.
class Session {
 public:
  Session(Method method, const std::vector<std::string>& devices);

  Server server;
  const Method method;

  unsigned device_count() const { return static_cast<unsigned>(server.devices().size()); }
  unsigned last_device() const { return device_count() - 1; }

  // Whether the kernel offers the method.
  bool offered() const;

  // Gives a file a right map. The file is not open.
  void map(File& file, std::uint64_t size, const Range& range);
  void map_strips(File& file, std::uint64_t size, std::uint64_t chunk,
                  const std::vector<Range>& strips);

  // The backing object of device `index`.
  static std::uint64_t device_backing(unsigned index) { return index + 1; }
  std::uint64_t new_backing() { return next_backing_++; }
  // Method (e): 0 or an errno.
  int send_map(std::uint64_t backing, std::uint32_t flags,
               const std::vector<abi::BackingExtent>& extents) const;

  static std::string path(const File& file);
  static int open(const File& file, int flags);
  int withdraw(const File& file) const { return server.withdraw(file.node); }

  // One check: opening the file fails with `error` (0: works); afterwards its map is withdrawn.
  void expect_open(const File& file, int error, const std::string& what) const;

 private:
  std::uint64_t next_backing_ = 1000;
};

// A byte of test content: `seed` is the file, so to say.
std::uint8_t pattern(std::uint64_t offset, unsigned seed);
std::vector<char> patterned(std::size_t size, unsigned seed, std::uint64_t offset = 0);

// The file's bytes, shared and writable unless said otherwise. Throws CannotGoOn.
char* map_shared(int fd, std::uint64_t size, std::uint64_t offset = 0);

}  // namespace mapsrv
