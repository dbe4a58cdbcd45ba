// SPDX-License-Identifier: Apache-2.0
// The exact text: scripts depend on it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/example_volume.h"
#include "volume/check.h"

namespace famfs::volume {
namespace {

using ::famfs::testing::ExampleVolume;
using ::famfs::testing::master_uuid;
using ::famfs::testing::RecordingMemory;
using ::testing::HasSubstr;

std::string json(ExampleVolume& example, uint64_t nbuckets = 0) {
  RecordingMemory memory(example.bytes(), false);
  return format_json(check(memory, {.system_uuid = master_uuid(), .nbuckets = nbuckets}), nullptr);
}

TEST(ReportJson, OfACleanFileSystem) {
  ExampleVolume example;
  const media::Superblock& superblock = example.superblock();
  EXPECT_EQ(
      json(example, 2),
      fmt::format(
          R"({{"schema":1,"device":"test memory","device_size":4294967296,"clean":true,)"
          R"("role":"master","superblock":{{"version":48,"omf_major":2,"omf_minor":2,)"
          R"("log_offset":2097152,"log_len":8388608,"alloc_unit":2097152,"fs_uuid":"{}",)"
          R"("device_uuid":"{}","system_uuid":"{}","device_size":4294967296,)"
          R"("device_name":"test memory"}},"log":{{"last_index":15419,"next_seqnum":4,)"
          R"("next_index":4,"entries_used":4,"entries_capacity":15420,"unannounced":0,)"
          R"("remains":"none","bad_entries":0,"collisions":0}},"contents":{{"files":3,)"
          R"("interleaved_files":1,"directories":1,"file_bytes":12000022}},)"
          R"("space":{{"capacity":4294967296,"used":29360128,"free":4265607168}},)"
          R"("further_devices":[],"buckets":{{"size":2147483648,"used":[{},{}]}},"findings":[],"repair":null}})"
          "\n",
          superblock.fs_uuid.to_string(), superblock.device_uuid.to_string(),
          superblock.system_uuid.to_string(),
          check(*std::make_unique<RecordingMemory>(example.bytes()), {.nbuckets = 2})
              .bucket_used[0],
          check(*std::make_unique<RecordingMemory>(example.bytes()), {.nbuckets = 2})
              .bucket_used[1]));
}

TEST(ReportJson, NamesWhatIsWrong) {
  ExampleVolume example;
  example.patch_path(2, "d/\"\n");
  example.patch_entry<uint64_t>(2, 16, 0);
  EXPECT_THAT(json(example),
              HasSubstr(R"("findings":[{"severity":"damage","area":"log_entry","entry":2,)"
                        R"("field":"size","found":"0","allowed":"1 or more",)"
                        R"("message":"log entry 2: size is 0; allowed: 1 or more"}])"));
  example.patch_header<uint64_t>(32, 9);
  EXPECT_THAT(json(example), HasSubstr(R"("severity":"notice","area":"log_header","entry":null,)"
                                       R"("field":"next_seqnum","found":"9")"));
}

TEST(ReportJson, OfTwoDevices) {
  ExampleVolume example;
  const auto second =
      std::make_shared<base::Mapping>(base::Mapping::anonymous(media::kMinimumDeviceSize));
  const auto master = example.open(master_uuid());
  master->add_device(std::make_unique<RecordingMemory>(second), false);
  const std::string uuid = master->devices()[0].entry.uuid.to_string();
  const std::string reason = fmt::format(
      "device 1 ({}, 4294967296 bytes) is not among the 0 devices looked at on this host", uuid);
  const std::string device = fmt::format(
      R"({{"index":1,"uuid":"{}","size":4294967296,"used":2097152,"free":4292870144,)", uuid);
  EXPECT_THAT(json(example), HasSubstr(R"("further_devices":[)" + device +
                                       R"("path":null,"missing":")" + reason + R"("}])"));
  EXPECT_THAT(json(example), HasSubstr(R"({"severity":"damage","area":"device","entry":null,)"
                                       R"("field":"first block","found":")"));
  RecordingMemory memory(example.bytes(), false);
  const DeviceSource source{
      .candidates = [] { return std::vector<std::string>{"/dev/x"}; },
      .open = [&](const std::string&) { return std::make_unique<RecordingMemory>(second); },
      .claim = {}};
  EXPECT_THAT(format_json(check(memory, {.devices = source}), nullptr),
              HasSubstr(R"("further_devices":[)" + device + R"("path":"/dev/x","missing":null}])"));
}

TEST(ReportJson, LeavesOutWhatCannotBeKnown) {
  ExampleVolume example;
  example.patch_header<uint64_t>(0, 7);
  EXPECT_THAT(
      json(example),
      HasSubstr(R"("log":null,"contents":null,"space":null,"further_devices":[],"buckets":null)"));
  example.patch_superblock<uint64_t>(0, 7);
  EXPECT_THAT(json(example),
              HasSubstr(R"("clean":false,"role":null,"superblock":null,"log":null)"));
}

TEST(ReportJson, TellsOfARepair) {
  ExampleVolume example;
  RecordingMemory memory(example.bytes());
  const CheckReport report = check(memory, {});
  RepairReport repair{.plan = {.found = {4, 3}, .wanted = Counters{4, 4}, .reason = "why"}};
  EXPECT_THAT(format_json(report, &repair),
              HasSubstr(R"("repair":{"refused":false,"applied":false,"reason":"why",)"
                        R"("found":{"next_seqnum":4,"next_index":3},)"
                        R"("wanted":{"next_seqnum":4,"next_index":4},"saved_copy":null}})"));
  repair.applied = true;
  repair.saved_copy = "file";
  EXPECT_THAT(format_json(report, &repair), HasSubstr(R"("saved_copy":"file")"));
  repair.plan.wanted.reset();
  EXPECT_THAT(format_json(report, &repair), HasSubstr(R"("wanted":null)"));
}

}  // namespace
}  // namespace famfs::volume
