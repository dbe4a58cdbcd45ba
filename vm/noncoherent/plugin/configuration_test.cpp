// SPDX-License-Identifier: Apache-2.0
#include "plugin/configuration.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace noncoherent {
namespace {

constexpr const char* kGood =
    "policy=lenient,seed=7\nwindows=0x110000000:0x100000000:0:0+0x210000000:0x100000000:0:1\n"
    "counters=/c\nreason=/r\ncache=/p0\ndevice=/d 0\nlines=/l0\ncache=/p1\ndevice=/d1\nlines=/l1\n";

constexpr const char* kBlame = "host=3\nfindings=/f\nsites=/s\nhistory=/h0\nhistory=/h1\n";

TEST(Configuration, IsRead) {
  const Configuration found = Configuration::parse(kGood);
  EXPECT_EQ(found.policy.seed, 7u);
  ASSERT_EQ(found.devices.size(), 2u);
  EXPECT_EQ(found.devices[0].device, "/d 0");
  EXPECT_EQ(found.devices[1].lines, "/l1");
  EXPECT_EQ(found.windows.all().size(), 2u);
  EXPECT_TRUE(found.record.empty());
  EXPECT_EQ(Configuration::parse(kGood + std::string("record=/t\n")).record, "/t");
  EXPECT_EQ(Configuration::parse(kGood + std::string("turnstile=/t\n")).turnstile, "/t");
  EXPECT_TRUE(found.findings.empty());
  const Configuration blames = Configuration::parse(kGood + std::string(kBlame));
  EXPECT_EQ(blames.host, 3u);
  EXPECT_EQ(blames.sites, "/s");
  EXPECT_EQ(blames.devices[1].history, "/h1");
}

TEST(Configuration, SaysWhatIsWrong) {
  const std::string good = kGood;
  for (const std::string& text :
       {std::string(), good + "x", good + "\n", good + "other=1\n", good + "cache=/p2\n",
        good.substr(0, good.find("cache=/p1")), good.substr(good.find("counters")),
        std::string("policy=never\n") + good, good + "record=/t\nturnstile=/t\n",
        good + "host=64\n", good + "host=-1\n", good + "host=1x\n", good + "findings=/f\n",
        good + kBlame + "history=/h2\n", good + "findings=/f\nsites=/s\nhistory=/h0\n"}) {
    EXPECT_THROW(Configuration::parse(text), std::invalid_argument) << text;
  }
}

}  // namespace
}  // namespace noncoherent
