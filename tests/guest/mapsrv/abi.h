// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/fuse.h>
#include <linux/ioctl.h>

#include <cstddef>
#include <cstdint>

// What the mapping methods add to the FUSE protocol. Written down here a second time, independently
// of the daemon: a mistake that a server makes in its own declarations does not show in its tests.
namespace mapsrv::abi {

inline constexpr std::uint64_t kInitPassthrough = 1ULL << 37;
inline constexpr std::uint64_t kInitPassthroughV2 = 1ULL << 45;
inline constexpr std::uint64_t kInitDaxFmap = 1ULL << 62;

inline constexpr std::uint32_t kGetFmap = 54;
inline constexpr std::uint32_t kGetDaxdev = 55;
inline constexpr int kNotifyBackingRemove = 10;
inline constexpr int kNotifyBackingMap = 11;

struct OpenOut {  // the last field only with kInitPassthroughV2
  std::uint64_t fh;
  std::uint32_t open_flags;
  std::int32_t backing_id;
  std::uint64_t backing_id_64;
};
static_assert(sizeof(OpenOut) == 24);
inline constexpr std::size_t kOpenOutShort = 16;

// Method (a): the answer to GET_FMAP is this header, then its extents.
struct FmapHeader {
  std::uint8_t file_type;
  std::uint8_t reserved;
  std::uint16_t fmap_version;
  std::uint32_t ext_type;  // 0 simple, 1 interleaved
  std::uint32_t nextents;
  std::uint32_t reserved0;
  std::uint64_t file_size;
  std::uint64_t reserved1;  // bytes of the whole answer, when the header comes alone
};
static_assert(sizeof(FmapHeader) == 32);

struct SimpleExtent {
  std::uint32_t devindex;
  std::uint32_t reserved;
  std::uint64_t offset;
  std::uint64_t length;
};
static_assert(sizeof(SimpleExtent) == 24);

struct InterleavedExtent {  // followed by its strips
  std::uint32_t nstrips;
  std::uint32_t chunk_size;
  std::uint64_t nbytes;
  std::uint64_t reserved;
};
static_assert(sizeof(InterleavedExtent) == 24);

struct DaxdevOut {
  std::uint16_t index;
  std::uint16_t reserved;
  std::uint32_t reserved2;
  std::uint64_t reserved3;
  std::uint64_t reserved4;
  char name[256];
};
static_assert(sizeof(DaxdevOut) == 280);

struct DaxdevRegisterIn {
  std::int32_t fd;
  std::uint32_t index;
  std::uint64_t spare[2];
};
static_assert(sizeof(DaxdevRegisterIn) == 24);
inline constexpr unsigned kMaxDaxdevs = 64;

// Method (e): backing objects, which are devices or maps of extents.
struct BackingCreateIn {
  std::int32_t fd;
  std::uint32_t padding;
  std::uint64_t backing_id;
  std::uint64_t spare[2];
};
static_assert(sizeof(BackingCreateIn) == 32);

struct BackingMap {  // followed by its extents
  std::uint64_t backing_id;
  std::uint32_t num_extents;
  std::uint32_t flags;
  std::uint64_t reserved[2];
};
static_assert(sizeof(BackingMap) == 32);
inline constexpr std::uint32_t kMapCreate = 1U << 0;
inline constexpr std::uint32_t kMapCyclic = 1U << 1;

struct BackingExtent {
  std::uint64_t offset;
  std::uint64_t length;
  std::uint64_t backing_id;
  std::uint64_t addr;
  std::uint64_t reserved[2];
};
static_assert(sizeof(BackingExtent) == 48);

struct BackingRemove {
  std::uint64_t backing_id;
  std::uint64_t reserved;
};
static_assert(sizeof(BackingRemove) == 16);

inline constexpr unsigned long kIoctlBackingCreate = _IOW(229, 4, BackingCreateIn);
inline constexpr unsigned long kIoctlDaxdevRegister = _IOW(229, 62, DaxdevRegisterIn);

}  // namespace mapsrv::abi
