// SPDX-License-Identifier: Apache-2.0
// What is called wrong, and what is not, with which places.
#include "model/blame.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>

#include "model/testing.h"

namespace noncoherent {
namespace {

using testing::Device;
using testing::Host;
using testing::kDeviceSize;

constexpr uint64_t kData = 0, kFlag = kPageSize;

// Where a host has stored a line, and where it has flushed it; 0 if it has not.
struct Written {
  Site stored, flushed;
};

// Each thing that a host does has a site: the number of its call, from 1 on.
class BlamedHost final : public Whereabouts {
 public:
  BlamedHost(unsigned number, Device& device, std::span<LineHistory> lines)
      : blame_(number, *findings_),
        of_device_(blame_, 0, lines),
        host_(device, "strict", nullptr, &of_device_) {}

  Site site() override { return calls_; }
  void flushes_in_vain() override { ++in_vain; }

  uint64_t load(uint64_t offset) {
    const Here here(*this);
    const uint64_t value = host_.load(offset);
    host_.cache.loaded(offset, sizeof(value));
    return value;
  }
  Site store(uint64_t offset, uint64_t value) {
    const Here here(*this);
    host_.store(offset, value);
    return calls_;
  }
  Site store_around(uint64_t offset, uint64_t value) {
    const Here here(*this);
    host_.store_around(offset, value);
    return calls_;
  }
  Site clwb(uint64_t offset) {
    const Here here(*this);
    host_.clwb(offset);
    return calls_;
  }
  void clflush(uint64_t offset) {
    const Here here(*this);
    host_.clflush(offset);
  }
  void acquire(uint64_t offset) {
    const Here here(*this);
    host_.clflushopt(offset);
    host_.mfence();
  }
  void sfence() { host_.sfence(); }
  Written write_back(uint64_t offset, uint64_t value) {
    const Site stored = store(offset, value);
    return {stored, clwb(offset)};
  }
  Written publish(uint64_t offset, uint64_t value) {
    const Written written = write_back(offset, value);
    sfence();
    return written;
  }
  Site last() const { return calls_; }
  const Findings& findings() const { return *findings_; }

  int in_vain = 0;

 private:
  struct Here {
    explicit Here(BlamedHost& host) {
      ++host.calls_;
      Whereabouts::current = &host;
    }
    ~Here() { Whereabouts::current = nullptr; }
  };

  Site calls_ = 0;
  std::unique_ptr<Findings> findings_ = std::make_unique<Findings>();
  Blame blame_;
  DeviceBlame of_device_;
  Host host_;
};

class Blame : public ::testing::Test {
 protected:
  // What the reader did wrong, and who it was: the only finding of both.
  void expect_only(Wrong wrong, Site here, Written other) {
    EXPECT_EQ(writer.findings().count, 0u);
    ASSERT_EQ(reader.findings().count, 1u);
    const Finding& found = reader.findings().found[0];
    EXPECT_EQ(found.wrong, wrong);
    EXPECT_EQ(found.here, here);
    EXPECT_EQ(found.other, 0u);
    EXPECT_EQ(found.stored_at, other.stored);
    EXPECT_EQ(found.flushed_at, other.flushed);
    EXPECT_EQ(found.line, kData / kLineSize);
  }
  void expect_nothing() {
    EXPECT_EQ(writer.findings().count, 0u);
    EXPECT_EQ(reader.findings().count, 0u);
  }

  Device device;
  std::vector<LineHistory> lines = std::vector<LineHistory>(kDeviceSize / kLineSize);
  BlamedHost writer{0, device, lines}, reader{1, device, lines};
};

TEST_F(Blame, MessageThatIsPassedRightIsNotNamed) {
  reader.load(kData);
  writer.publish(kData, 1);
  writer.publish(kFlag, 1);
  reader.acquire(kFlag);
  EXPECT_EQ(reader.load(kFlag), 1u);
  reader.acquire(kData);
  EXPECT_EQ(reader.load(kData), 1u);
  expect_nothing();
}

TEST_F(Blame, LoadOfOldBytesAfterTheAnnouncement) {
  reader.load(kData);
  const Written data = writer.publish(kData, 1);
  writer.publish(kFlag, 1);
  reader.acquire(kFlag);
  reader.load(kFlag);
  const Site announced = reader.last();
  EXPECT_EQ(reader.load(kData), 0u);
  expect_only(Wrong::stale_load, reader.last(), data);
  EXPECT_EQ(reader.findings().found[0].announced_at, announced);
  EXPECT_EQ(reader.findings().found[0].announced_line, kFlag / kLineSize);
}

TEST_F(Blame, LoadOfOldBytesWithoutAnAnnouncementMayBeFirst) {
  reader.load(kFlag);
  writer.publish(kData, 1);
  expect_nothing();
  reader.load(kData);  // fetched after it was published
  expect_nothing();
}

TEST_F(Blame, LoadOfOldBytesAgainAndAgain) {
  reader.load(kData);
  const Written data = writer.publish(kData, 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  reader.load(kData);
  expect_only(Wrong::stale_load, reader.last(), data);
  EXPECT_EQ(reader.findings().found[0].announced_at, 0u);
}

TEST_F(Blame, StoreThatIsNotWrittenBack) {
  const Site stored = writer.store(kData, 1);
  writer.publish(kFlag, 1);
  EXPECT_EQ(reader.load(kFlag), 1u);
  EXPECT_EQ(reader.load(kData), 0u);
  expect_only(Wrong::not_written_back, reader.last(), {stored, 0});
}

TEST_F(Blame, WriteBackThatNoFenceFollows) {
  const Written data = writer.write_back(kData, 1);
  writer.store(kFlag, 1);
  writer.clflush(kFlag);
  EXPECT_EQ(reader.load(kFlag), 1u);
  EXPECT_EQ(reader.load(kData), 0u);
  expect_only(Wrong::not_fenced, reader.last(), data);
}

// Its fence came in time by chance: the announcement was stored before.
TEST_F(Blame, AnnouncementThatIsStoredBeforeTheFence) {
  const Written data = writer.write_back(kData, 1);
  writer.store(kFlag, 1);
  writer.clwb(kFlag);
  writer.sfence();
  EXPECT_EQ(reader.load(kFlag), 1u);
  EXPECT_EQ(reader.load(kData), 1u);
  expect_only(Wrong::overtaken, reader.last(), data);
}

// The reader has done all it can.
TEST_F(Blame, AnnouncementWhoseDataComeBetweenFetchAndLoad) {
  reader.load(kData);
  const Written data = writer.write_back(kData, 1);
  writer.store(kFlag, 1);
  writer.clflush(kFlag);
  EXPECT_EQ(reader.load(kFlag), 1u);
  reader.acquire(kData);
  writer.sfence();
  EXPECT_EQ(reader.load(kData), 0u);
  expect_only(Wrong::overtaken, reader.last(), data);
}

TEST_F(Blame, LinesThatAreFlushedTogetherAreNoAnnouncementOfEachOther) {
  for (uint64_t line = 0; line < 4; ++line) writer.store(line * kLineSize, line + 1);
  for (uint64_t line = 0; line < 4; ++line) writer.clwb(line * kLineSize);
  writer.sfence();
  for (uint64_t line = 4; line-- > 0;) EXPECT_EQ(reader.load(line * kLineSize), line + 1);
  expect_nothing();
}

TEST_F(Blame, LineThatIsWrittenOver) {
  reader.load(kData);
  const Written data = writer.publish(kData, 1);
  const Site beside = reader.store(kData + 8, 2);
  reader.clwb(kData);
  reader.sfence();
  expect_only(Wrong::overwritten, beside, data);
}

TEST_F(Blame, LineThatIsInvalidatedBeforeItIsStoredToIsNotWrittenOver) {
  reader.load(kData);
  writer.publish(kData, 1);
  reader.acquire(kData);
  reader.publish(kData + 8, 2);
  expect_nothing();
}

TEST_F(Blame, StoreOfTheSameBytesIsNotWrittenOver) {
  reader.load(kData);
  writer.publish(kData, 1);
  reader.publish(kData, 0);
  expect_nothing();
}

TEST_F(Blame, StoreAroundTheCacheIsNotWrittenOver) {
  reader.load(kData);
  writer.publish(kData, 1);
  reader.store_around(kData + 8, 2);
  reader.sfence();
  expect_nothing();
}

TEST_F(Blame, SamePairOfPlacesIsFoundOnce) {
  Finding finding{};
  finding.wrong = Wrong::stale_load;
  finding.times = 1;
  finding.here = 1;
  finding.stored_at = 2;
  auto findings = std::make_unique<Findings>();
  noncoherent::Blame blame(0, *findings);
  for (int i = 0; i < 3; ++i) blame.find(finding);
  for (Site site = 3; site < 3 + Findings::kMost; ++site) {
    finding.here = site;
    blame.find(finding);
  }
  EXPECT_EQ(findings->count, Findings::kMost);
  EXPECT_EQ(findings->found[0].times, 1u + 2u);
  EXPECT_EQ(findings->left_off, 1u);
}

TEST_F(Blame, FlushesThatDoNothingAreTold) {
  writer.clwb(kData);  // of a line that is not here
  writer.acquire(kData);
  EXPECT_EQ(writer.in_vain, 2);
  writer.store(kData, 1);
  writer.clwb(kData);
  EXPECT_EQ(writer.in_vain, 2);
  writer.sfence();
  writer.clwb(kData);
  EXPECT_EQ(writer.in_vain, 3);
}

TEST_F(Blame, HistoryHasTheLastEventsOfTheLine) {
  writer.publish(kData, 1);
  reader.load(kData);
  const LineHistory& history = lines[0];
  ASSERT_EQ(history.events_seen, 5u);
  const Event::Kind kinds[] = {Event::kStored, Event::kFlushed, Event::kCommitted, Event::kFetched,
                               Event::kLoaded};
  for (size_t i = 0; i < std::size(kinds); ++i) {
    EXPECT_EQ(history.events[i].kind, kinds[i]);
    EXPECT_EQ(history.events[i].host, i < 3 ? 0 : 1);
  }
  EXPECT_EQ(history.version, 1u);
  EXPECT_EQ(history.dirty, 0u);
}

}  // namespace
}  // namespace noncoherent
