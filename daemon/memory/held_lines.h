// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/uuid.h"
#include "memory/file_lines.h"

namespace famfs::memory {

// What this host may have in its caches of the files of each dax device, and of which file system:
// so that no file shows what another, of a file system that was there before, has left.
//
// Hosts are not coherent: when another host makes a file system anew, the lines that this one has
// loaded from the old files stay, and would be read as the bytes of the new files that get their
// place. So each part of a file is noted before a program can load from it, and where it was noted
// for another file system it is dropped first. That has to be after the new file is in the log:
// what is dropped sooner, at the mount or when the old file was left, a processor may have fetched
// again before the new bytes are there. It costs nothing while a file system stays, and then is in
// proportion to what this host has opened, not to the device. Lines that are stored to are written
// back when a file is closed, and so are clean.
//
// The record is in `directory`, one that goes with the caches: lost when the host boots, kept when
// a daemon dies. Its lines are "UUID ADDRESS LENGTH", physical addresses in bytes, as a device may
// get another name and number; a later one replaces what earlier ones say of the same bytes. What
// cannot be read as that stands for all memory. A device whose address is not known (the daemon is
// not root) has a record of its own, with offsets. Nothing but a character device is recorded:
// other memory is one host's.
//
// Thread safety: all functions may be called at once, also by other processes.
class HeldLines {
 public:
  // What is done with the devices of this machine.
  struct Machine {
    std::function<std::uint64_t(const std::string& device)> address;  // of its start; 0: not known
    std::function<void(const std::string& device, std::vector<Range> ranges)> drop;
  };

  // `directory` is made when it is needed. Nil as the file system: what any is to drop.
  HeldLines(std::string directory, const base::Uuid& file_system, Machine machine);

  // Programs are about to load from these ranges by themselves: drops what is another file
  // system's. Throws base::Error, with nothing noted.
  void take(const std::string& device, std::span<const Range> ranges);
  // Only this process is about to load from them, and invalidates each time: what is another file
  // system's stays so.
  void note(const std::string& device, std::span<const Range> ranges);

 private:
  struct Part {
    std::uint64_t end = 0;
    base::Uuid file_system;
  };

  // What the record of a device says, as far as this process has read it.
  struct Device {
    std::string record;                   // path; empty if there is none
    std::uint64_t start = 0;              // what the record has in place of offset 0
    ino_t inode = 0;                      // the file that was read
    off_t read = 0;                       // bytes of it
    std::map<std::uint64_t, Part> parts;  // by their start; they do not overlap

    // Whether all of the ranges is this file system's.
    bool owns(std::span<const Range> ranges, const base::Uuid& file_system) const;
    // What of the ranges is another file system's, and what is nobody's.
    std::vector<Range> others(std::span<const Range> ranges, const base::Uuid& file_system) const;
    std::vector<Range> gaps(std::span<const Range> ranges) const;
    void assign(const Range& range, const base::Uuid& file_system);
    void read_record(int fd);
  };

  Device& device_locked(const std::string& path);
  void append_locked(Device& device, int fd, std::span<const Range> ranges);

  const std::string directory_;
  const base::Uuid file_system_;
  const Machine machine_;
  std::mutex drop_mutex_;  // before mutex_; one at a time has the memory mapped
  std::mutex mutex_;
  std::unordered_map<std::string, Device> devices_;
};

}  // namespace famfs::memory
