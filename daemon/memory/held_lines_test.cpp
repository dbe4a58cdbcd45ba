// SPDX-License-Identifier: Apache-2.0
#include "memory/held_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "testing/temporary_directory.h"

namespace famfs::memory {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

// Devices of which nothing is used but that they are character devices.
constexpr const char* kDevice = "/dev/zero";
constexpr const char* kOther = "/dev/null";

class HeldLinesTest : public ::testing::Test {
 protected:
  HeldLines daemon(const base::Uuid& file_system) {
    return {directory_,
            file_system,
            {[this](const std::string& device) { return addresses_[device]; },
             [this](const std::string& device, std::vector<Range> ranges) {
               for (const Range& range : ranges) dropped_.emplace_back(device, range);
               if (fail_) throw base::Error(EBUSY, "in use");
             }}};
  }

  // What a daemon that takes these drops.
  std::vector<Range> dropped_by(const base::Uuid& file_system, std::vector<Range> ranges) {
    dropped_.clear();
    daemon(file_system).take(kDevice, ranges);
    std::vector<Range> all;
    for (const auto& [device, range] : dropped_) all.push_back(range);
    return all;
  }

  std::filesystem::path record() const {
    return std::filesystem::directory_iterator(directory_)->path();
  }

  famfs::testing::TemporaryDirectory temporary_;
  const std::string directory_ = temporary_.path() + "/lines";
  const base::Uuid first_ = base::Uuid::random();
  const base::Uuid second_ = base::Uuid::random();
  std::vector<std::pair<std::string, Range>> dropped_;
  std::map<std::string, std::uint64_t> addresses_{{kDevice, 1ULL << 32}, {kOther, 2ULL << 32}};
  bool fail_ = false;
};

TEST_F(HeldLinesTest, NothingIsDroppedOfTheSameFileSystem) {
  EXPECT_THAT(dropped_by(first_, {{4096, 8192}}), IsEmpty());
  EXPECT_THAT(dropped_by(first_, {{0, 1 << 20}}), IsEmpty());
}

TEST_F(HeldLinesTest, WhatIsAnotherFileSystemsIsDroppedOnce) {
  EXPECT_THAT(dropped_by(first_, {{4096, 8192}, {1 << 20, 64}}), IsEmpty());
  EXPECT_THAT(dropped_by(second_, {{0, 8192}}), ElementsAre(Range{4096, 4096}));
  EXPECT_THAT(dropped_by(second_, {{0, 8192}}), IsEmpty());
  EXPECT_THAT(dropped_by(second_, {{0, 2 << 20}}),
              ElementsAre(Range{8192, 4096}, Range{1 << 20, 64}));
  EXPECT_THAT(dropped_by(first_, {{0, 64}, {8192, 64}}),
              ElementsAre(Range{0, 64}, Range{8192, 64}));
  EXPECT_THAT(dropped_by(second_, {{0, 2 << 20}}), ElementsAre(Range{0, 64}, Range{8192, 64}));
}

TEST_F(HeldLinesTest, DaemonsSeeWhatOthersOfTheirHostHaveTaken) {
  HeldLines one = daemon(first_);
  HeldLines two = daemon(second_);
  two.take(kDevice, std::vector<Range>{{0, 64}});
  one.take(kDevice, std::vector<Range>{{4096, 64}});
  two.take(kDevice, std::vector<Range>{{0, 8192}});
  EXPECT_THAT(dropped_, ElementsAre(std::pair(kDevice, Range{4096, 64})));
}

TEST_F(HeldLinesTest, DevicesAreApart) {
  const std::vector<Range> ranges{{0, 64}};
  daemon(first_).take(kOther, ranges);
  EXPECT_THAT(dropped_by(second_, ranges), IsEmpty());
  daemon(second_).take(kOther, ranges);
  EXPECT_THAT(dropped_, UnorderedElementsAre(std::pair(kOther, Range{0, 64})));
}

TEST_F(HeldLinesTest, ADeviceIsKnownByItsAddress) {
  const std::vector<Range> ranges{{1 << 20, 64}};
  EXPECT_THAT(dropped_by(first_, ranges), IsEmpty());
  addresses_ = {{kOther, (1ULL << 32) + 4096}};
  daemon(second_).take(kOther, std::vector<Range>{{0, 2 << 20}});
  EXPECT_THAT(dropped_, ElementsAre(std::pair(kOther, Range{(1 << 20) - 4096, 64})));
}

TEST_F(HeldLinesTest, ADeviceWhoseAddressIsNotKnownIsKnownByItsNumber) {
  addresses_.clear();
  const std::vector<Range> ranges{{1 << 20, 64}};
  EXPECT_THAT(dropped_by(first_, ranges), IsEmpty());
  daemon(second_).take(kOther, ranges);
  EXPECT_THAT(dropped_, IsEmpty());
  EXPECT_THAT(dropped_by(second_, ranges), ElementsAre(ranges.front()));
}

TEST_F(HeldLinesTest, WhatWasOnlyNotedStaysAnothersWhereItWas) {
  EXPECT_THAT(dropped_by(first_, {{0, 4096}}), IsEmpty());
  daemon(second_).note(kDevice, std::vector<Range>{{0, 8192}});
  EXPECT_THAT(dropped_by(second_, {{0, 8192}}), ElementsAre(Range{0, 4096}));
  EXPECT_THAT(dropped_by(first_, {{0, 8192}}), ElementsAre(Range{0, 8192}));
}

TEST_F(HeldLinesTest, WhatWasNotedOfNoFileSystemIsDroppedByAny) {
  const std::vector<Range> log{{0, 8192}};
  EXPECT_THAT(dropped_by(first_, {{4096, 64}}), IsEmpty());
  daemon(base::Uuid{}).note(kDevice, log);
  EXPECT_THAT(dropped_by(first_, {{0, 4096}, {4096, 64}, {1 << 20, 64}}),
              ElementsAre(Range{0, 4096}));
  EXPECT_THAT(dropped_by(second_, {{0, 1 << 20}}), ElementsAre(Range{0, 4160}, Range{4160, 4032}));
}

TEST_F(HeldLinesTest, WhatCouldNotBeDroppedIsDroppedLater) {
  const std::vector<Range> ranges{{4096, 64}};
  EXPECT_THAT(dropped_by(first_, ranges), IsEmpty());
  fail_ = true;
  EXPECT_THROW(daemon(second_).take(kDevice, ranges), base::Error);
  fail_ = false;
  EXPECT_THAT(dropped_by(second_, ranges), ElementsAre(ranges.front()));
}

TEST_F(HeldLinesTest, WhatCannotBeReadStandsForTheWholeDevice) {
  const std::vector<Range> ranges{{1 << 30, 64}};
  const std::string uuid = first_.to_string();
  const std::vector<std::string> bad{"12",
                                     uuid,
                                     uuid + "\n",
                                     uuid + " 1\n",
                                     uuid + " 1 x\n",
                                     uuid + " 1 -1\n",
                                     uuid + "1 1\n",
                                     "x" + uuid + " 0 64\n",
                                     uuid + " 0 64",
                                     uuid + " 18446744073709551615 64\n"};
  for (const std::string& text : bad) {
    EXPECT_THAT(dropped_by(first_, ranges), ::testing::SizeIs(::testing::Le(1U)));
    std::ofstream(record(), std::ios::app) << text;
    EXPECT_THAT(dropped_by(first_, ranges), ElementsAre(ranges.front())) << text;
    std::filesystem::remove(record());
  }
}

TEST_F(HeldLinesTest, ARecordIsWrittenAnewWhenItSaysLittle) {
  const std::vector<Range> ranges{{4096, 64}};
  const std::vector<Range> apart{{0, 64}};
  HeldLines watching = daemon(first_);
  watching.take(kDevice, apart);
  for (int i = 0; i < 2000; ++i) daemon(i % 2 == 0 ? first_ : second_).take(kDevice, ranges);
  EXPECT_LT(std::filesystem::file_size(record()), 1U << 16);
  EXPECT_THAT(dropped_by(first_, ranges), ElementsAre(ranges.front()));
  dropped_.clear();
  watching.take(kDevice, std::vector<Range>{{0, 8192}});
  EXPECT_THAT(dropped_, IsEmpty());
  EXPECT_THAT(dropped_by(second_, apart), ElementsAre(apart.front()));
}

TEST_F(HeldLinesTest, FilesAreOneHostsMemory) {
  const std::string file = temporary_.path() + "/memory";
  std::ofstream(file) << "x";
  const std::vector<Range> ranges{{0, 64}};
  daemon(first_).take(file, ranges);
  daemon(second_).take(file, ranges);
  daemon(second_).note(file, ranges);
  EXPECT_THAT(dropped_, IsEmpty());
  EXPECT_THROW(daemon(first_).take(temporary_.path() + "/none", ranges), base::Error);
}

TEST_F(HeldLinesTest, TheDirectoryIsOursAlone) {
  ASSERT_EQ(mkdir(directory_.c_str(), 0755), 0);
  const std::vector<Range> ranges{{0, 64}};
  EXPECT_THROW(daemon(first_).take(kDevice, ranges), base::Error);
  EXPECT_THROW(daemon(first_).note(kDevice, ranges), base::Error);
}

}  // namespace
}  // namespace famfs::memory
