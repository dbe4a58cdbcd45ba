// SPDX-License-Identifier: Apache-2.0
// Contract: the best method that kernel and memory allow is taken, a forced one or none, and what
// was not taken has a reason that names the kernel's bit or the device's driver.
#include "mapping/method.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "base/error.h"
#include "kmap/uapi.h"
#include "testing/example_volume.h"

namespace famfs::mapping {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kExtentMap = kmap::uapi::kPassthrough | kmap::uapi::kPassthroughV2;
constexpr std::uint64_t kFmap = kmap::uapi::kDaxFmap;

kmap::Offer offer(std::uint64_t flags, const kmap::Generation& generation = {7, 3, false}) {
  return {7, 46, flags, generation};
}

class Negotiation : public ::testing::Test {
 protected:
  Negotiation() : volume_(example_.open(testing::master_uuid(), &memory_)) {}

  // The name of what is chosen on a device that files of a mount can lie on.
  std::string on_fsdev(const kmap::Offer& offer, const std::string& wanted = "") {
    memory_->files_in_reach = false;
    return choose(offer, wanted);
  }
  std::string choose(const kmap::Offer& offer, const std::string& wanted = "") {
    Choice choice = negotiate(offer, wanted, *volume_);
    passed_over_ = choice.passed_over;
    return std::string(choice.method->name());
  }
  std::string refusal(const kmap::Offer& offer, const std::string& wanted) {
    try {
      negotiate(offer, wanted, *volume_);
    } catch (const base::Error& error) {
      EXPECT_EQ(error.code(), EOPNOTSUPP);
      return error.message();
    }
    return "accepted";
  }

  testing::ExampleVolume example_;
  testing::RecordingMemory* memory_ = nullptr;
  std::unique_ptr<volume::Volume> volume_;
  std::string passed_over_;
};

TEST(Method, NoNameAndKnownNamesAreAccepted) {
  for (const char* name : {"", "daemon-served", "extent-map", "fmap", "fmap-v10"}) {
    EXPECT_NO_THROW(check_method_name(name)) << name;
  }
}

TEST(Method, UnknownNameIsRefusedWithTheNamesThatExist) {
  try {
    check_method_name("telepathy");
    FAIL() << "accepted";
  } catch (const base::Error& error) {
    EXPECT_EQ(error.code(), EINVAL);
    EXPECT_THAT(error.message(), HasSubstr("telepathy"));
    EXPECT_THAT(error.message(), HasSubstr("extent-map, fmap, fmap-v10, daemon-served"));
  }
}

TEST_F(Negotiation, TheKernelsOfferDecides) {
  EXPECT_EQ(on_fsdev(offer(kExtentMap | kFmap)), "extent-map");
  EXPECT_EQ(passed_over_, "");
  EXPECT_EQ(on_fsdev(offer(kFmap)), "fmap");
  EXPECT_THAT(passed_over_, HasSubstr("extent-map: the kernel does not offer"));
}

TEST_F(Negotiation, AForcedMethodIsTakenOrRefusedWithTheReason) {
  EXPECT_EQ(on_fsdev(offer(kExtentMap | kFmap), "fmap"), "fmap");
  EXPECT_THAT(refusal(offer(kExtentMap), "fmap"), HasSubstr("fmap cannot be used"));
  EXPECT_THAT(refusal(offer(kExtentMap), "fmap"), HasSubstr("bit 62"));
  EXPECT_THAT(refusal(offer(kFmap), "extent-map"), HasSubstr("bit 45"));
  EXPECT_THAT(refusal(offer(kmap::uapi::kBit43), "fmap-v10"), HasSubstr("BUFPOOL"));
}

TEST_F(Negotiation, ThePostedSeriesIsKnownAndRefusedForAMount) {
  memory_->files_in_reach = false;
  EXPECT_THAT(refusal(offer(kmap::uapi::kBit43, {7, 0, true}), "fmap-v10"),
              HasSubstr("one connection alone"));
  EXPECT_THAT(refusal(offer(kmap::uapi::kBit43, {7, 0, true}), ""), HasSubstr("device_dax"));
}

TEST_F(Negotiation, WithoutADeviceForFilesTheDaemonServes) {
  EXPECT_EQ(choose(offer(kExtentMap | kFmap)), "daemon-served");
  EXPECT_THAT(passed_over_, HasSubstr("fsdev_dax"));
  EXPECT_THAT(refusal(offer(kFmap), "fmap"), HasSubstr("fsdev_dax"));
}

TEST_F(Negotiation, AKernelWithoutAnyFallsBackAndSaysSo) {
  EXPECT_EQ(choose(offer(0)), "daemon-served");
  EXPECT_THAT(passed_over_, HasSubstr("bit 45"));
  EXPECT_THAT(passed_over_, HasSubstr("bit 62"));
}

TEST_F(Negotiation, OnADeviceThatTheDaemonCannotMapThereMustBeAMethod) {
  memory_->files_in_reach = false;
  EXPECT_THAT(refusal(offer(0), ""), HasSubstr("bind it to device_dax"));
  EXPECT_THAT(refusal(offer(kFmap), "daemon-served"), HasSubstr("bind it to device_dax"));
}

}  // namespace
}  // namespace famfs::mapping
