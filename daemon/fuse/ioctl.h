// SPDX-License-Identifier: Apache-2.0
//
// The control interface of a mounted famfs: ioctl(2) on a directory or a file of the mount.
//
// All structures have a fixed size and layout (x86-64 ABI, checked below) and begin with `Status`.
// The caller zeroes the structure, sets `status.version` to kVersion and fills the inputs. The
// ioctl itself fails only when the request did not reach the daemon (ENOTTY: not famfs or another
// version of the structures, ENOTCONN: the daemon is gone). Otherwise it returns 0 and
// `status.error` holds 0 or a positive errno, `status.message` what was wrong, where, what was
// found and what is allowed (NUL-terminated, empty on success).
//
// A change of a structure changes its size and with it the request number; a change of meaning
// alone raises kVersion. Requests of another version answer EPROTONOSUPPORT.
#pragma once

#include <linux/ioctl.h>

#include <cstddef>
#include <cstdint>

namespace famfs::fuse::ioctl {

inline constexpr std::uint32_t kVersion = 1;

// Bytes for one path component and its NUL; the log holds whole paths of at most 79 bytes.
inline constexpr std::size_t kNameBytes = 80;

// Extents (or strips) of one file, the limit of the media format.
inline constexpr std::size_t kExtents = 16;

struct Status {
  std::uint32_t version;  // in: kVersion
  std::int32_t error;     // out: 0 or a positive errno
  char message[504];      // out: one or more lines for people
};
static_assert(sizeof(Status) == 512);

// CREATE_FILES on the parent directory: allocate files and append them to the log, announced at
// once. Master only. The first file that cannot be made ends it: `status` says why, and those
// before it are made.
inline constexpr std::size_t kBatch = 128;  // files of one request
struct NewFile {
  std::uint64_t size;        // bytes, > 0
  std::uint64_t chunk_size;  // interleaved: power of two, multiple of the allocation unit; else 0
  std::uint32_t strips;      // interleaved: 1..16; 0 for a file that is not
  std::uint32_t buckets;     // interleaved: regions that the device is cut into, strips..64
  std::uint32_t mode;        // permission bits
  std::uint32_t uid;
  std::uint32_t gid;
  std::uint32_t reserved;  // 0
  char name[kNameBytes];   // one component, NUL-terminated
};
static_assert(sizeof(NewFile) == 120);
struct CreateFiles {
  Status status;
  std::uint32_t count;    // in: entries used in `file`
  std::uint32_t created;  // out: of them, from the first on, how many were made
  NewFile file[kBatch];
};
static_assert(sizeof(CreateFiles) == 15880);

// MAKE_DIRECTORY on the parent directory. Master only.
struct MakeDirectory {
  Status status;
  std::uint32_t mode;  // permission bits
  std::uint32_t uid;
  std::uint32_t gid;
  std::uint32_t reserved;  // 0
  char name[kNameBytes];   // one component, NUL-terminated
};
static_assert(sizeof(MakeDirectory) == 608);

// REFRESH on any directory: read the log entries that other hosts have appended.
struct Refresh {
  Status status;
  std::uint64_t played;   // out: entries read by this call
  std::uint64_t entries;  // out: entries read since the mount
  std::uint64_t skipped;  // out: entries since the mount that were valid but not usable
};
static_assert(sizeof(Refresh) == 536);

// GET_MAP on a file: where its bytes are.
struct Extent {
  std::uint64_t device;  // index of the dax device
  std::uint64_t offset;  // bytes from the start of that device
  std::uint64_t length;  // bytes
};
struct GetMap {
  Status status;
  std::uint64_t size;        // out: file size in bytes
  std::uint64_t chunk_size;  // out: 0 for a contiguous file
  std::uint32_t extents;     // out: entries used in `extent`
  std::uint32_t reserved;
  char method[24];          // out: how the kernel reaches them, as in -o method=, NUL-terminated
  Extent extent[kExtents];  // out: extents, or strips when chunk_size is not 0
};
static_assert(sizeof(GetMap) == 944);

// GET_WINDOW on any directory: the parts of the device that the daemon has mapped where nobody else
// can map them (fsdev_dax), as descriptors of the daemon: /proc/PID/fd/FD for who may open those.
// What it answers for device 0, the one with superblock and log, it does for the others too.
inline constexpr std::size_t kWindowParts = 8;
struct WindowPart {
  std::uint64_t offset;  // bytes from the start of the device
  std::uint64_t length;
  std::int32_t fd;  // of the daemon
  std::uint32_t reserved;
};
struct GetWindow {
  Status status;
  std::uint64_t device_size;  // out: bytes
  std::uint32_t pid;          // out: of the daemon
  std::uint32_t parts;        // out: entries used in `part`; 0 if the device itself can be mapped
  std::uint32_t device;       // in: its index
  std::uint32_t reserved;     // 0
  WindowPart part[kWindowParts];
};
static_assert(sizeof(GetWindow) == 728);

inline constexpr std::size_t kPathBytes = 1024;

// ADD_DEVICE on any directory: makes a device of this host a further one of the file system. For
// root and who runs the daemon. Master only.
struct AddDevice {
  Status status;
  std::uint32_t force;    // in: 1 to take one that has a famfs
  std::uint32_t index;    // out: of the new device
  char path[kPathBytes];  // absolute, NUL-terminated
};
static_assert(sizeof(AddDevice) == 1544);

// GET_DEVICE on any directory: the further device `index` as this host has it.
struct GetDevice {
  Status status;          // out: ENOENT if there are fewer
  std::uint32_t index;    // in: 1 or more
  std::uint32_t missing;  // out: 1 if it is not on this host; `path` then says why
  std::uint64_t size;     // out: bytes
  std::uint8_t uuid[16];  // out
  char path[kPathBytes];  // out: NUL-terminated
};
static_assert(sizeof(GetDevice) == 1568);

inline constexpr unsigned kType = 0xFA;
inline constexpr unsigned kCreateFiles = _IOWR(kType, 1, CreateFiles);
inline constexpr unsigned kMakeDirectory = _IOWR(kType, 2, MakeDirectory);
inline constexpr unsigned kRefresh = _IOWR(kType, 3, Refresh);
inline constexpr unsigned kGetMap = _IOWR(kType, 4, GetMap);
inline constexpr unsigned kGetWindow = _IOWR(kType, 5, GetWindow);
inline constexpr unsigned kAddDevice = _IOWR(kType, 6, AddDevice);
inline constexpr unsigned kGetDevice = _IOWR(kType, 7, GetDevice);

}  // namespace famfs::fuse::ioctl
