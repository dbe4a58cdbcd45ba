// SPDX-License-Identifier: Apache-2.0
// A whole image: the input patches a file system that holds every kind of entry, CRCs are set
// right, then fsck, logplay, a mount on a client and on the master run over it. Nothing may crash,
// go outside the device or throw anything but base::Error; what the tree holds must resolve inside
// the device.
//
// Input: the first byte says which CRCs are mended, then records of 11 bytes: area, entry index,
// offset (2), and up to 7 bytes that are stored there.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/crc32.h"
#include "base/error.h"
#include "testing/example_volume.h"
#include "tree/fmap.h"
#include "volume/check.h"
#include "volume/volume.h"

using namespace famfs;
using ::famfs::testing::ExampleVolume;
using ::famfs::testing::RecordingMemory;

namespace {

constexpr uint64_t kLogPart = uint64_t{64} * 1024;  // of the log that is patched and put back

void require(bool holds) {
  if (!holds) std::abort();
}

void patch(ExampleVolume& example, std::span<const std::byte> input) {
  if (input.empty()) return;
  const auto mend = std::to_integer<unsigned>(input[0]);
  for (input = input.subspan(1); input.size() >= 11; input = input.subspan(11)) {
    const auto area = std::to_integer<unsigned>(input[0]) % 4;
    const uint64_t index = std::to_integer<unsigned>(input[1]) % 8;
    const auto offset = base::load<uint16_t>(input, 2);
    std::span<std::byte> target = example.entry(index);
    if (area == 0) target = example.raw(0, media::kSuperblockSize);
    if (area == 1) target = example.raw(media::kLogOffset, media::kLogHeaderSize);
    const size_t at = offset % target.size();
    const size_t length = std::min<size_t>(7, target.size() - at);
    std::memcpy(&target[at], &input[4], length);
  }
  if ((mend & 1) != 0) example.patch_superblock<uint64_t>(0, media::kSuperblockMagic);
  if ((mend & 2) != 0) example.patch_header<uint64_t>(0, media::kLogMagic);
  if ((mend & 4) != 0) {
    for (uint64_t index = 0; index < 8; ++index) example.patch_entry<uint64_t>(index, 0, index);
  }
}

void check_tree(const volume::Volume& volume) {
  const auto view = volume.tree();
  for (uint64_t id = 2; id <= view->count(); ++id) {
    const tree::Node* node = view->find(id);
    require(view->lookup_path(view->path_of(id)) == node);
    if (node->directory) continue;
    const auto last = tree::resolve(node->map, node->size, node->size - 1);
    require(last && last->device_offset + last->length <= media::kMinimumDeviceSize);
    require(last->device_offset >= media::kLogOffset + media::kMinimumLogLength);
  }
}

// Superblock and the first part of the log, one after the other.
std::vector<std::byte> metadata(ExampleVolume& example) {
  const auto superblock = example.raw(0, media::kSuperblockSize);
  const auto log = example.raw(media::kLogOffset, kLogPart);
  std::vector<std::byte> bytes(superblock.begin(), superblock.end());
  bytes.insert(bytes.end(), log.begin(), log.end());
  return bytes;
}

void put_back(ExampleVolume& example, const std::vector<std::byte>& bytes) {
  std::memcpy(example.raw(0, media::kSuperblockSize).data(), bytes.data(), media::kSuperblockSize);
  std::memcpy(example.raw(media::kLogOffset, kLogPart).data(),
              bytes.data() + media::kSuperblockSize, kLogPart);
}

template <typename Action>
void tolerate_errors(Action action) {
  try {
    action();
  } catch (const base::Error&) {  // NOLINT(bugprone-empty-catch): damage may be refused
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // One image for all runs: only its metadata is put back each time.
  static ExampleVolume example;
  static const std::vector<std::byte> original = metadata(example);
  put_back(example, original);
  patch(example, {reinterpret_cast<const std::byte*>(data), size});
  const std::vector<std::byte> patched = metadata(example);

  bool clean = false;
  tolerate_errors([&] {
    RecordingMemory memory(example.bytes(), false);
    const auto report = volume::check(memory, {.nbuckets = alloc::kMaxBuckets});
    (void)volume::format_report(report, {.verbose = true, .human = true});
    (void)volume::format_json(report, nullptr);
    clean = report.clean();
  });
  tolerate_errors([&] {
    RecordingMemory memory(example.bytes(), false);
    volume::replay(memory);
  });
  tolerate_errors([&] {
    const auto client = example.open(::famfs::testing::client_uuid());
    client->refresh();
    check_tree(*client);
    require(!clean || !client->last_refresh().stopped);
  });
  const auto plan = [] {
    RecordingMemory memory(example.bytes(), false);
    return volume::plan_repair(memory);
  };
  const volume::RepairPlan repair = plan();
  require(!clean || !repair.wanted);
  require(metadata(example) == patched);
  if (repair.wanted) {
    RecordingMemory memory(example.bytes());
    volume::apply_repair(memory, repair);
    require(!plan().wanted);
  }
  tolerate_errors([&] {
    const auto master = example.open(::famfs::testing::master_uuid());
    check_tree(*master);
    // What is appended past the part that is put back would be there in later runs.
    if (master->space().entries_used >= 64) return;
    master->make_directory(::famfs::testing::a_directory("fuzz"));
    check_tree(*master);
  });
  return 0;
}
