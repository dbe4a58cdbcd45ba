// SPDX-License-Identifier: Apache-2.0
// The model on real pages: this process is the guest.
#include "plugin/user_faults.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "model/cache.h"
#include "model/processor.h"
#include "model/testing.h"

namespace noncoherent {
namespace {

constexpr size_t kSize = 64 * kPageSize;

struct File {
  File() {
    const Descriptor made(mkstemp(path.data()));
    EXPECT_TRUE(made);
    EXPECT_EQ(ftruncate(made.get(), kSize), 0);
  }
  ~File() { unlink(path.c_str()); }
  std::string path = "/dev/shm/noncoherent-test-XXXXXX";
};

// As QEMU: maps the file before the plugin looks for it.
struct Guest {
  Guest(testing::Device& device, const Policy& policy)
      : file(path.path),
        mapping(static_cast<std::byte*>(mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED,
                                             open_file(path.path).get(), 0))),
        frames(faults, file, find_mapping(file)),
        cache(0, device.shared, frames, policy, counters, nullptr) {
    EXPECT_EQ(find_mapping(file), mapping);
    faults.watch(mapping, kSize, [this](uint64_t page) { cache.fill(page); });
    faults.run([](const std::string& reason) { ADD_FAILURE() << reason; });
  }
  ~Guest() {
    faults.stop();
    munmap(mapping, kSize);
  }

  File path;
  MappedFile file;
  std::byte* mapping;
  UserFaults faults;
  GuestFrames frames;
  Counters counters;
  Cache cache;
  Processor processor{counters, Policy{}};
};

struct UserFaultsTest : ::testing::Test {
  testing::Device device;
  Policy policy;
};

TEST_F(UserFaultsTest, TouchedPagesAreFetched) {
  device.memory.data()[5 * kPageSize] = std::byte{7};
  Guest guest(device, policy);
  EXPECT_EQ(guest.mapping[5 * kPageSize], std::byte{7});
  EXPECT_EQ(guest.mapping[6 * kPageSize], std::byte{0});
  EXPECT_EQ(guest.counters.fills, 2u);
}

TEST_F(UserFaultsTest, PagesLeaveAndComeBack) {
  policy.capacity = 2 * kPageSize;
  Guest guest(device, policy);
  for (uint64_t page = 0; page < 10; ++page) {
    guest.mapping[page * kPageSize] = std::byte(page + 1);
    guest.cache.stored(page * kPageSize, 1);
  }
  EXPECT_EQ(guest.counters.dropped, 8u);
  Line line{};
  line[0] = std::byte{99};
  device.shared.commit(0, line, kAll);
  EXPECT_EQ(guest.mapping[0], std::byte{99});
  EXPECT_EQ(guest.mapping[kPageSize], std::byte{2});
}

TEST_F(UserFaultsTest, SystemCallsTouchPagesToo) {
  device.memory.data()[0] = std::byte{'x'};
  Guest guest(device, policy);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const ssize_t written = write(ends[1], guest.mapping, 1);
  EXPECT_EQ(written, guest.faults.of_kernel() ? 1 : -1);
  close(ends[0]);
  close(ends[1]);
}

// Several processors store while pages leave and lines are flushed: no store is lost.
TEST_F(UserFaultsTest, NoStoreIsLost) {
  policy.capacity = 3 * kPageSize;
  Guest guest(device, policy);
  std::atomic<bool> over = false;
  std::vector<std::thread> processors;
  for (unsigned number = 0; number < 3; ++number) {
    processors.emplace_back([&, number] {
      // Each its own word of the same lines.
      for (uint64_t round = 1; round <= 3000; ++round) {
        const uint64_t offset = round * 7 % 6 * kPageSize + number * 8;
        auto& word = *reinterpret_cast<std::atomic<uint64_t>*>(guest.mapping + offset);
        const uint64_t value = round << 8 | number;
        word.store(value);
        guest.cache.stored_beside_others(offset, 8, reinterpret_cast<const std::byte*>(&value));
        if (word.load() != value) ADD_FAILURE() << "round " << round << " of " << number;
      }
    });
  }
  std::thread flusher([&] {
    for (uint64_t line = 0; !over; ++line) {
      guest.processor.clflushopt(guest.cache, line % 6 * kLinesPerPage);
      if (line % 3 == 0) guest.processor.full_fence();
    }
  });
  for (std::thread& processor : processors) processor.join();
  over = true;
  flusher.join();
}

}  // namespace
}  // namespace noncoherent
