// SPDX-License-Identifier: Apache-2.0
#include "media/log_entry.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/crc32.h"
#include "base/error.h"
#include "media/extent_check.h"
#include "media/path.h"

namespace famfs::media {
namespace {

enum Type : uint32_t { kFile = 0, kMkdir = 1, kAddDaxdev = 3 };
enum ExtentType : uint32_t { kSimple = 0, kInterleaved = 1 };

constexpr size_t kSeqnum = 0;
constexpr size_t kType = 8;
constexpr size_t kCrc = 536;  // also the length it covers

constexpr size_t kFileSize = 16;
constexpr size_t kFileFlags = 24;
constexpr size_t kFileUid = 28;
constexpr size_t kFileGid = 32;
constexpr size_t kFileMode = 36;
constexpr size_t kFilePath = 40;
constexpr size_t kExtentType = 120;
constexpr size_t kExtentCount = 128;  // nextents and niext share it
constexpr size_t kSimpleExtents = 136;
constexpr size_t kStripCount = 136;
constexpr size_t kChunkSize = 144;
constexpr size_t kStrips = 152;
constexpr size_t kExtentSize = 24;

constexpr size_t kMkdirUid = 16;
constexpr size_t kMkdirGid = 20;
constexpr size_t kMkdirMode = 24;
constexpr size_t kMkdirPath = 28;

constexpr size_t kDaxdevSize = 16;
constexpr size_t kDaxdevUuid = 24;
constexpr size_t kDaxdevIndex = 40;

// Collects what is wrong with one entry.
class Findings {
 public:
  explicit Findings(uint64_t index) : index_(index) {}

  void damage(std::string field, std::string found, std::string allowed) {
    add(Severity::kDamage, std::move(field), std::move(found), std::move(allowed));
  }
  void notice(std::string field, std::string found, std::string allowed) {
    add(Severity::kNotice, std::move(field), std::move(found), std::move(allowed));
  }
  Complain complain() {
    return [this](std::string field, std::string found, std::string allowed) {
      damage(std::move(field), std::move(found), std::move(allowed));
    };
  }
  bool damaged() const {
    return std::any_of(list_.begin(), list_.end(), [](const Finding& finding) {
      return finding.severity == Severity::kDamage;
    });
  }
  std::vector<Finding> take() { return std::move(list_); }

 private:
  void add(Severity severity, std::string field, std::string found, std::string allowed) {
    list_.push_back({severity, Area::kLogEntry, index_, std::move(field), std::move(found),
                     std::move(allowed)});
  }

  uint64_t index_;
  std::vector<Finding> list_;
};

void check_path(std::string_view path, Findings& findings) {
  if (const auto problem = path_problem(path)) {
    findings.damage("relpath", fmt::format("'{}' ({})", printable(path), *problem),
                    fmt::format("a relative path of 1 to {} bytes without '..'", kMaxPath));
  }
}

void check_mode(uint32_t mode, Findings& findings) {
  if (mode > kMaxMode) {
    findings.damage("mode", fmt::format("{:#o}", mode), fmt::format("0 to {:#o}", kMaxMode));
  }
}

void check(const FileEntry& file, const Superblock& limits, Findings& findings) {
  check_path(file.path, findings);
  check_mode(file.mode, findings);
  if (file.size == 0) findings.damage("size", "0", "1 or more");
  check_map(file.map, file.size, limits, findings.complain());
}

void check(const DirectoryEntry& directory, const Superblock&, Findings& findings) {
  check_path(directory.path, findings);
  check_mode(directory.mode, findings);
}

void check(const DaxDeviceEntry& device, const Superblock&, Findings& findings) {
  if (device.index == 0 || device.index >= kMaxDevices) {
    findings.damage("daxdev.index", std::to_string(device.index),
                    fmt::format("1 to {}", kMaxDevices - 1));
  }
  if (device.size < kMinimumSecondarySize) {
    findings.damage("daxdev.size", std::to_string(device.size),
                    fmt::format("{} or more", kMinimumSecondarySize));
  }
}

void check(const UnknownEntry& unknown, const Superblock&, Findings& findings) {
  findings.notice("type", std::to_string(unknown.type),
                  fmt::format("{}, {} or {}; the entry is skipped", +kFile, +kMkdir, +kAddDaxdev));
}

Extent load_extent(std::span<const std::byte> bytes, size_t offset) {
  return {base::load<uint64_t>(bytes, offset), base::load<uint64_t>(bytes, offset + 8),
          base::load<uint64_t>(bytes, offset + 16)};
}

void store_extent(std::span<std::byte> bytes, size_t offset, const Extent& extent) {
  base::store<uint64_t>(bytes, offset, extent.device_index);
  base::store<uint64_t>(bytes, offset + 8, extent.offset);
  base::store<uint64_t>(bytes, offset + 16, extent.length);
}

// The text up to the first NUL; the format pads with NULs, so anything after one is damage.
std::string load_path(std::span<const std::byte> bytes, size_t offset, Findings& findings) {
  const auto* const text = reinterpret_cast<const char*>(bytes.subspan(offset).data());
  const size_t length = ::strnlen(text, kPathFieldSize);
  constexpr std::array<char, kPathFieldSize> kPadding{};
  if (std::memcmp(text + length, kPadding.data(), kPathFieldSize - length) != 0) {
    findings.damage(
        "relpath",
        fmt::format("'{}' (with a NUL inside)", printable(std::string_view(text, kPathFieldSize))),
        "NUL only after the path");
  }
  return {text, length};
}

void store_path(std::span<std::byte> bytes, size_t offset, const std::string& path) {
  if (path.size() > kMaxPath) {
    throw base::Error(EINVAL, "path '{}' has {} bytes; allowed: 1 to {}", printable(path),
                      path.size(), kMaxPath);
  }
  std::memcpy(bytes.subspan(offset).data(), path.data(), path.size());
}

// Reads no more extents than the entry has room for; counts beyond are damage.
FileMap load_map(std::span<const std::byte> bytes, Findings& findings) {
  FileMap map;
  const auto type = base::load<uint32_t>(bytes, kExtentType);
  const auto count = base::load<uint32_t>(bytes, kExtentCount);
  if (type == kSimple) {
    if (count == 0 || count > kMaxExtents) {
      findings.damage("fmap.nextents", std::to_string(count), fmt::format("1 to {}", kMaxExtents));
      return map;
    }
    for (uint32_t i = 0; i < count; ++i) {
      map.extents.push_back(load_extent(bytes, kSimpleExtents + i * kExtentSize));
    }
  } else if (type == kInterleaved) {
    const auto strips = base::load<uint64_t>(bytes, kStripCount);
    map.chunk_size = base::load<uint64_t>(bytes, kChunkSize);
    if (count != 1) findings.damage("fmap.niext", std::to_string(count), "1");
    if (strips == 0 || strips > kMaxStrips) {
      findings.damage("fmap.ie[0].nstrips", std::to_string(strips),
                      fmt::format("1 to {}", kMaxStrips));
    }
    // In memory, chunk size 0 means simple.
    if (map.chunk_size == 0) findings.damage("fmap.ie[0].chunk_size", "0", "a power of two");
    if (findings.damaged()) return map;
    for (uint64_t i = 0; i < strips; ++i) {
      map.extents.push_back(load_extent(bytes, kStrips + i * kExtentSize));
    }
  } else {
    findings.damage("fmap.ext_type", std::to_string(type),
                    fmt::format("{} or {}", +kSimple, +kInterleaved));
  }
  return map;
}

void store_map(std::span<std::byte> bytes, const FileMap& map) {
  const size_t most = map.interleaved() ? kMaxStrips : kMaxExtents;
  if (map.extents.empty() || map.extents.size() > most) {
    throw base::Error(EINVAL, "map of {} extents; allowed: 1 to {}", map.extents.size(), most);
  }
  const auto count = static_cast<uint32_t>(map.extents.size());
  base::store<uint32_t>(bytes, kExtentType, map.interleaved() ? kInterleaved : kSimple);
  base::store<uint32_t>(bytes, kExtentCount, map.interleaved() ? 1 : count);
  size_t at = kSimpleExtents;
  if (map.interleaved()) {
    base::store<uint64_t>(bytes, kStripCount, count);
    base::store<uint64_t>(bytes, kChunkSize, map.chunk_size);
    at = kStrips;
  }
  for (const Extent& extent : map.extents) {
    store_extent(bytes, at, extent);
    at += kExtentSize;
  }
}

void store_body(std::span<std::byte> bytes, const FileEntry& file) {
  base::store<uint32_t>(bytes, kType, kFile);
  base::store<uint64_t>(bytes, kFileSize, file.size);
  base::store<uint32_t>(bytes, kFileFlags, file.flags);
  base::store<uint32_t>(bytes, kFileUid, file.uid);
  base::store<uint32_t>(bytes, kFileGid, file.gid);
  base::store<uint32_t>(bytes, kFileMode, file.mode);
  store_path(bytes, kFilePath, file.path);
  store_map(bytes, file.map);
}

void store_body(std::span<std::byte> bytes, const DirectoryEntry& directory) {
  base::store<uint32_t>(bytes, kType, kMkdir);
  base::store<uint32_t>(bytes, kMkdirUid, directory.uid);
  base::store<uint32_t>(bytes, kMkdirGid, directory.gid);
  base::store<uint32_t>(bytes, kMkdirMode, directory.mode);
  store_path(bytes, kMkdirPath, directory.path);
}

void store_body(std::span<std::byte> bytes, const DaxDeviceEntry& device) {
  base::store<uint32_t>(bytes, kType, kAddDaxdev);
  base::store<uint64_t>(bytes, kDaxdevSize, device.size);
  std::memcpy(bytes.subspan(kDaxdevUuid, 16).data(), device.uuid.bytes.data(), 16);
  base::store<uint32_t>(bytes, kDaxdevIndex, device.index);
}

void store_body(std::span<std::byte> bytes, const UnknownEntry& unknown) {
  base::store<uint32_t>(bytes, kType, unknown.type);
}

EntryBody load_body(std::span<const std::byte> bytes, Findings& findings) {
  const auto type = base::load<uint32_t>(bytes, kType);
  switch (type) {
    case kFile: {
      FileEntry file;
      file.size = base::load<uint64_t>(bytes, kFileSize);
      file.flags = base::load<uint32_t>(bytes, kFileFlags);
      file.uid = base::load<uint32_t>(bytes, kFileUid);
      file.gid = base::load<uint32_t>(bytes, kFileGid);
      file.mode = base::load<uint32_t>(bytes, kFileMode);
      file.path = load_path(bytes, kFilePath, findings);
      file.map = load_map(bytes, findings);
      return file;
    }
    case kMkdir: {
      DirectoryEntry directory;
      directory.uid = base::load<uint32_t>(bytes, kMkdirUid);
      directory.gid = base::load<uint32_t>(bytes, kMkdirGid);
      directory.mode = base::load<uint32_t>(bytes, kMkdirMode);
      directory.path = load_path(bytes, kMkdirPath, findings);
      return directory;
    }
    case kAddDaxdev: {
      DaxDeviceEntry device;
      device.size = base::load<uint64_t>(bytes, kDaxdevSize);
      std::memcpy(device.uuid.bytes.data(), bytes.subspan(kDaxdevUuid, 16).data(), 16);
      device.index = base::load<uint32_t>(bytes, kDaxdevIndex);
      return device;
    }
    default:
      return UnknownEntry{type};
  }
}

// Seqnum and CRC; true if the rest of the bytes can be believed.
bool check_envelope(std::span<const std::byte> bytes, uint64_t index, Findings& findings) {
  if (bytes.size() < kLogEntrySize) {
    findings.damage("length", fmt::format("{} bytes", bytes.size()),
                    fmt::format("{} bytes", kLogEntrySize));
    return false;
  }
  const auto seqnum = base::load<uint64_t>(bytes, kSeqnum);
  if (seqnum != index) {
    findings.damage("seqnum", std::to_string(seqnum), fmt::format("{}, the entry's index", index));
  }
  const auto crc = base::load<uint64_t>(bytes, kCrc);
  const uint64_t computed = base::crc32(bytes.first(kCrc));
  if (crc != computed) {
    findings.damage("crc", fmt::format("{:#x}", crc), fmt::format("{:#x}", computed));
  }
  return !findings.damaged();
}

}  // namespace

std::array<std::byte, kLogEntrySize> encode(const LogEntry& entry) {
  std::array<std::byte, kLogEntrySize> out{};
  const std::span<std::byte> bytes(out);
  base::store<uint64_t>(bytes, kSeqnum, entry.index);
  std::visit([&](const auto& body) { store_body(bytes, body); }, entry.body);
  base::store<uint64_t>(bytes, kCrc, base::crc32(bytes.first(kCrc)));
  return out;
}

bool is_intact(std::span<const std::byte> bytes, uint64_t index) {
  // The seqnum first: a log is searched for its end, and most of it is zeros.
  return bytes.size() >= kLogEntrySize && base::load<uint64_t>(bytes, kSeqnum) == index &&
         base::load<uint64_t>(bytes, kCrc) == base::crc32(bytes.first(kCrc));
}

bool needs_bytes(std::span<const std::byte> bytes, uint64_t index, uint64_t begin, uint64_t end) {
  const auto inside = [&](size_t offset) { return begin <= offset && offset < end; };
  if ((index > 0 && inside(kSeqnum)) || inside(kCrc)) return true;
  const auto type = base::load<uint32_t>(bytes, kType);
  if (type == kMkdir) return inside(kMkdirPath);
  if (type == kAddDaxdev) return inside(kDaxdevSize) || inside(kDaxdevIndex);
  if (type != kFile) return false;
  if (inside(kFileSize) || inside(kFilePath) || inside(kExtentCount)) return true;
  const bool simple = base::load<uint32_t>(bytes, kExtentType) == kSimple;
  if (!simple && (inside(kStripCount) || inside(kChunkSize))) return true;
  const uint64_t count =
      simple ? base::load<uint32_t>(bytes, kExtentCount) : base::load<uint64_t>(bytes, kStripCount);
  const size_t extents = simple ? kSimpleExtents : kStrips;
  // No extent begins at 0 and none is empty.
  for (uint64_t i = 0; i < std::min<uint64_t>(count, kMaxExtents); ++i) {
    if (inside(extents + i * kExtentSize + 8) || inside(extents + i * kExtentSize + 16)) {
      return true;
    }
  }
  return false;
}

Decoded<LogEntry> decode_log_entry(std::span<const std::byte> bytes, uint64_t index,
                                   const Superblock& limits) {
  Decoded<LogEntry> result;
  Findings findings(index);
  if (check_envelope(bytes, index, findings)) {
    EntryBody body = load_body(bytes, findings);
    // Fields that could not even be loaded are reported alone: checking them again would repeat it.
    if (!findings.damaged()) {
      std::visit([&](const auto& checked) { check(checked, limits, findings); }, body);
    }
    if (!findings.damaged()) result.value = LogEntry{index, std::move(body)};
  }
  result.findings = findings.take();
  return result;
}

std::vector<Finding> validate(const EntryBody& body, uint64_t index, const Superblock& limits) {
  Findings findings(index);
  std::visit([&](const auto& checked) { check(checked, limits, findings); }, body);
  return findings.take();
}

}  // namespace famfs::media
