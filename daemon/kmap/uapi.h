// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/ioctl.h>

#include <cstddef>
#include <cstdint>

// What the kernel and a FUSE server say to each other about the maps of files: the part of the
// kernel's interface that the headers of a stock libfuse do not have. Integers are of the host's
// byte order, structures without padding that is not named.
namespace famfs::kmap::uapi {

// Messages that every FUSE server knows.
struct InHeader {
  std::uint32_t len;
  std::uint32_t opcode;
  std::uint64_t unique;
  std::uint64_t nodeid;
  std::uint32_t uid;
  std::uint32_t gid;
  std::uint32_t pid;
  std::uint16_t total_extlen;
  std::uint16_t padding;
};
static_assert(sizeof(InHeader) == 40);

struct OutHeader {
  std::uint32_t len;
  std::int32_t error;    // 0 or a negative errno; the code in a notification
  std::uint64_t unique;  // 0 in a notification
};
static_assert(sizeof(OutHeader) == 16);

inline constexpr std::uint32_t kLookup = 1;
inline constexpr std::uint32_t kForget = 2;
inline constexpr std::uint32_t kGetattr = 3;
inline constexpr std::uint32_t kOpen = 14;
inline constexpr std::uint32_t kStatfs = 17;
inline constexpr std::uint32_t kRelease = 18;
inline constexpr std::uint32_t kFsync = 20;
inline constexpr std::uint32_t kFlush = 25;
inline constexpr std::uint32_t kInit = 26;
inline constexpr std::uint32_t kInterrupt = 36;
inline constexpr std::uint32_t kDestroy = 38;
inline constexpr std::uint32_t kBatchForget = 42;
inline constexpr std::uint32_t kGetFmap = 54;
inline constexpr std::uint32_t kGetDaxdev = 55;

struct InitIn {  // as of 7.36; older kernels send the first 16 bytes
  std::uint32_t major;
  std::uint32_t minor;
  std::uint32_t max_readahead;
  std::uint32_t flags;
  std::uint32_t flags2;
  std::uint32_t unused[11];
};
static_assert(sizeof(InitIn) == 64);
inline constexpr std::size_t kInitInOldSize = 16;

struct InitOut {
  std::uint32_t major;
  std::uint32_t minor;
  std::uint32_t max_readahead;
  std::uint32_t flags;
  std::uint16_t max_background;
  std::uint16_t congestion_threshold;
  std::uint32_t max_write;
  std::uint32_t time_gran;
  std::uint16_t max_pages;
  std::uint16_t map_alignment;
  std::uint32_t flags2;
  std::uint32_t max_stack_depth;
  std::uint16_t request_timeout;
  std::uint16_t unused[11];
};
static_assert(sizeof(InitOut) == 64 && offsetof(InitOut, flags2) == 32);

// Flags of INIT, flags2 in the upper half.
inline constexpr std::uint64_t kInitExt = 1ULL << 30;  // flags2 counts
inline constexpr std::uint64_t kWritebackCache = 1ULL << 16;
inline constexpr std::uint64_t kPassthrough = 1ULL << 37;
inline constexpr std::uint64_t kBit43 = 1ULL << 43;  // means one thing or another: generation.h
inline constexpr std::uint64_t kPassthroughV2 = 1ULL << 45;
inline constexpr std::uint64_t kDaxFmap = 1ULL << 62;

struct Attr {
  std::uint64_t ino;
  std::uint64_t size;
  std::uint64_t blocks;
  std::uint64_t atime;
  std::uint64_t mtime;
  std::uint64_t ctime;
  std::uint32_t atimensec;
  std::uint32_t mtimensec;
  std::uint32_t ctimensec;
  std::uint32_t mode;
  std::uint32_t nlink;
  std::uint32_t uid;
  std::uint32_t gid;
  std::uint32_t rdev;
  std::uint32_t blksize;
  std::uint32_t flags;
};
static_assert(sizeof(Attr) == 88);

struct EntryOut {
  std::uint64_t nodeid;
  std::uint64_t generation;
  std::uint64_t entry_valid;
  std::uint64_t attr_valid;
  std::uint32_t entry_valid_nsec;
  std::uint32_t attr_valid_nsec;
  Attr attr;
};
static_assert(sizeof(EntryOut) == 128);

struct AttrOut {
  std::uint64_t attr_valid;
  std::uint32_t attr_valid_nsec;
  std::uint32_t dummy;
  Attr attr;
};
static_assert(sizeof(AttrOut) == 104);

struct OpenOut {
  std::uint64_t fh;
  std::uint32_t open_flags;
  std::int32_t backing_id;
  std::uint64_t backing_id_64;  // only with kPassthroughV2
};
static_assert(sizeof(OpenOut) == 24);
inline constexpr std::size_t kOpenOutOldSize = 16;
inline constexpr std::uint32_t kFopenNoFlush = 1U << 5;
inline constexpr std::uint32_t kFopenPassthrough = 1U << 7;

// File maps: the kernel asks with GET_FMAP, node id = the file.
struct FmapHeader {
  std::uint8_t file_type;  // 0: regular
  std::uint8_t reserved;
  std::uint16_t fmap_version;
  std::uint32_t ext_type;
  std::uint32_t nextents;
  std::uint32_t reserved0;
  std::uint64_t file_size;
  std::uint64_t reserved1;
};
static_assert(sizeof(FmapHeader) == 32);
inline constexpr std::uint16_t kFmapVersion = 1;
inline constexpr std::uint32_t kExtSimple = 0;
inline constexpr std::uint32_t kExtInterleave = 1;

struct SimpleExt {
  std::uint32_t devindex;
  std::uint32_t reserved;
  std::uint64_t offset;
  std::uint64_t len;
};
static_assert(sizeof(SimpleExt) == 24);

struct Iext {  // followed by nstrips SimpleExt
  std::uint32_t nstrips;
  std::uint32_t chunk_size;
  std::uint64_t nbytes;
  std::uint64_t reserved;
};
static_assert(sizeof(Iext) == 24);

// GET_DAXDEV, node id = index of the device.
struct DaxdevOut {
  std::uint16_t index;
  std::uint16_t reserved;
  std::uint32_t reserved2;
  std::uint64_t reserved3;
  std::uint64_t reserved4;
  char name[256];  // path of the device node
};
static_assert(sizeof(DaxdevOut) == 280 && offsetof(DaxdevOut, name) == 24);

// A device told in advance, so that GET_DAXDEV is never sent for it.
struct DaxdevRegisterIn {
  std::int32_t fd;
  std::uint32_t index;
  std::uint64_t spare[2];
};
static_assert(sizeof(DaxdevRegisterIn) == 24);

// Backing objects of kPassthroughV2: a device, or a map of extents of devices.
struct BackingCreateIn {
  std::int32_t fd;
  std::uint32_t padding;
  std::uint64_t backing_id;
  std::uint64_t spare[2];
};
static_assert(sizeof(BackingCreateIn) == 32);

inline constexpr std::int32_t kNotifyBackingRemove = 10;
inline constexpr std::int32_t kNotifyBackingMap = 11;

struct BackingRemove {
  std::uint64_t backing_id;
  std::uint64_t reserved;
};
static_assert(sizeof(BackingRemove) == 16);

struct BackingMap {  // followed by num_extents BackingExtent
  std::uint64_t backing_id;
  std::uint32_t num_extents;
  std::uint32_t flags;
  std::uint64_t reserved[2];
};
static_assert(sizeof(BackingMap) == 32);
inline constexpr std::uint32_t kMapCreate = 1U << 0;
inline constexpr std::uint32_t kMapCyclic = 1U << 1;

struct BackingExtent {
  std::uint64_t offset;  // in the map
  std::uint64_t length;
  std::uint64_t backing_id;  // of the device
  std::uint64_t addr;        // in the device
  std::uint64_t reserved[2];
};
static_assert(sizeof(BackingExtent) == 48);

inline constexpr unsigned kIoctlType = 229;
inline constexpr unsigned long kIoctlBackingCreate = _IOW(kIoctlType, 4, BackingCreateIn);
inline constexpr unsigned long kIoctlDaxdevRegister = _IOW(kIoctlType, 62, DaxdevRegisterIn);

}  // namespace famfs::kmap::uapi
