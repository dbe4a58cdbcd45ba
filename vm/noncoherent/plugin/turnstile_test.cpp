// SPDX-License-Identifier: Apache-2.0
#include "plugin/turnstile.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "model/testing.h"

namespace noncoherent {
using testing::Device;
using testing::Host;

namespace {

class TurnstileTest : public ::testing::Test {
 protected:
  TurnstileTest() {
    std::filesystem::create_directory(directory_);
    std::ofstream(path_) << std::string(sizeof(Held), '\0');
    for (const char* end : {".waits", ".goes"}) mkfifo((path_ + end).c_str(), 0600);
    held_file_ = std::make_unique<MappedFile>(path_);
    held_ = reinterpret_cast<Held*>(held_file_->bytes().data());
    waits_ = open_file(path_ + ".waits");
    goes_ = open_file(path_ + ".goes");
    turnstile_ = std::make_unique<Turnstile>(path_);
  }
  ~TurnstileTest() override { std::filesystem::remove_all(directory_); }

  void hold(uint32_t kinds, uint64_t lines) {
    held_->lines = lines;
    held_->kinds = kinds;
  }
  bool waits() {
    pollfd wanted{waits_.get(), POLLIN, 0};
    return poll(&wanted, 1, 200) == 1;
  }
  Passage next() {
    Passage passage{};
    EXPECT_EQ(read(waits_.get(), &passage, sizeof(passage)), ssize_t{sizeof(passage)});
    return passage;
  }
  void go() { EXPECT_EQ(write(goes_.get(), "x", 1), 1); }

  const std::string directory_ = ::testing::TempDir() + "/turnstile." + std::to_string(getpid());
  const std::string path_ = directory_ + "/held";
  std::unique_ptr<MappedFile> held_file_;
  Held* held_ = nullptr;
  Descriptor waits_, goes_;
  std::unique_ptr<Turnstile> turnstile_;
};

TEST_F(TurnstileTest, HoldsWhatIsAskedFor) {
  Device device;
  Host host{device, "strict", turnstile_.get()};
  host.load(0);  // nothing is held yet
  hold(Held::kCommits, 2);
  std::thread running([&] {
    for (const uint64_t line : {0, 1, 2}) {
      host.store(line * kLineSize, 7);
      host.clwb(line * kLineSize);
    }
    host.sfence();
  });
  for (const uint64_t line : {0, 1}) {
    const Passage passage = next();
    EXPECT_EQ(passage.kind, Held::kCommits);
    EXPECT_EQ(passage.line, line);
    EXPECT_FALSE(waits());
    EXPECT_EQ(device.shared.fetch_line(line)[0], std::byte{0});
    go();
  }
  running.join();
  EXPECT_FALSE(waits());
  for (const uint64_t line : {0, 1, 2}) EXPECT_EQ(device.shared.fetch_line(line)[0], std::byte{7});
}

TEST_F(TurnstileTest, HoldsWhatComesToo) {
  Device device;
  Host host{device, "strict", turnstile_.get()};
  hold(Held::kFetches, 1 << 20);
  std::thread running([&] {
    host.load(kPageSize);
    host.clflushopt(kPageSize);
    host.mfence();
  });
  const Passage page = next();
  EXPECT_EQ(page.line, kLinesPerPage);
  EXPECT_EQ(page.count, kLinesPerPage);
  go();
  EXPECT_EQ(next().count, 1u);
  go();
  running.join();
}

TEST_F(TurnstileTest, LetsAllPassOnceNothingIsHeld) {
  Device device;
  Host host{device, "strict", turnstile_.get()};
  hold(Held::kFetches, 1 << 20);
  std::thread running([&] {
    host.load(0);
    host.load(kPageSize);
  });
  next();
  hold(0, 0);
  go();
  running.join();
}

TEST_F(TurnstileTest, NamesWhatIsNotThere) {
  EXPECT_THROW(Turnstile(path_ + ".none"), std::system_error);
}

}  // namespace
}  // namespace noncoherent
