// SPDX-License-Identifier: Apache-2.0
#include "plugin/unmapped_flushes.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace noncoherent {
namespace {

constexpr uint64_t kRoot = 0x1000, kUser = 0x7f1234567000;

// The guest's memory, as far as it holds page tables.
struct Tables {
  uint64_t read(uint64_t address) const {
    const auto found = memory.find(address);
    return found == memory.end() ? 0 : found->second;
  }
  ReadPhysical reader() const {
    return [this](uint64_t address) { return read(address); };
  }
  Translation translate(uint64_t address) const {
    return noncoherent::translate(kRoot, address, reader());
  }
  std::map<uint64_t, uint64_t> memory;
};

TEST(PageTables, LevelByLevel) {
  Tables tables;
  uint64_t table = kRoot;
  for (unsigned level = 0; level < 4; ++level) {
    const Translation missing = tables.translate(kUser);
    EXPECT_FALSE(missing.mapped);
    EXPECT_EQ(missing.address & ~uint64_t{0xfff}, table);
    EXPECT_EQ(missing.address & 0xfff, (kUser >> (39 - 9 * level) & 511) * 8);
    table += 0x1000;
    tables.memory[missing.address] = table | 0x8000000000000067;
  }
  EXPECT_TRUE(tables.translate(kUser + 0x123).mapped);
  EXPECT_EQ(tables.translate(kUser + 0x123).address, table + 0x123);
}

TEST(PageTables, LargePages) {
  Tables tables;
  tables.memory[kRoot + (kUser >> 39 & 511) * 8] = 0x2001;
  tables.memory[0x2000 + (kUser >> 30 & 511) * 8] = 0x3001;
  tables.memory[0x3000 + (kUser >> 21 & 511) * 8] =
      0x110000000 | 0x1000 | 0x81;  // PAT is no address
  EXPECT_EQ(tables.translate(kUser + 5).address, 0x110000000 + (kUser & 0x1fffff) + 5);
}

struct Flushes : ::testing::Test {
  void add(Flush flush, uint64_t address, unsigned processor = 0) {
    const Translation missing = tables.translate(address);
    ASSERT_FALSE(missing.mapped);
    flushes.add(processor, flush, kRoot, address, missing.address);
  }
  void store(uint64_t address, uint64_t entry) {
    tables.memory[address] = entry;
    if (!flushes.watches(address)) return;
    flushes.entry_stored(address, tables.reader(),
                         [this](unsigned processor, Flush flush, uint64_t line) {
                           done += std::to_string(processor) + ":" +
                                   "wio"[static_cast<int>(flush)] + std::to_string(line) + " ";
                         });
  }
  // Puts in all tables but the last entry, whose place it returns.
  uint64_t build(uint64_t address) {
    for (;;) {
      const Translation missing = tables.translate(address);
      if (missing.address / kPageSize == 4) return missing.address;
      store(missing.address, (missing.address / kPageSize + 1) * kPageSize | 7);
    }
  }

  Tables tables;
  UnmappedFlushes flushes{4};
  std::string done;
};

TEST_F(Flushes, AreDoneWhenThePageIsMapped) {
  add(Flush::write_back, kUser + 64);
  add(Flush::invalidate_ordered, kUser + 128);
  const uint64_t entry = build(kUser);
  EXPECT_EQ(done, "");
  EXPECT_EQ(flushes.pages(), 1u);
  store(entry, 0x100000 | 7);
  EXPECT_EQ(done,
            "0:w" + std::to_string(0x100000 + 64) + " 0:o" + std::to_string(0x100000 + 128) + " ");
  EXPECT_EQ(flushes.pages(), 0u);
  EXPECT_FALSE(flushes.watches(entry));
}

TEST_F(Flushes, OfOtherPagesWait) {
  const uint64_t entry = build(kUser);
  add(Flush::invalidate, kUser);
  add(Flush::invalidate, kUser + kPageSize);
  store(entry + 8, 0x200000 | 7);
  EXPECT_EQ(done, "0:i" + std::to_string(0x200000) + " ");
  EXPECT_EQ(flushes.pages(), 1u);
  EXPECT_TRUE(flushes.watches(entry));
}

TEST_F(Flushes, OfALargePageAreDoneTogether) {
  for (uint64_t page = 0; page < 3; ++page) add(Flush::write_back, kUser + page * kPageSize);
  tables.memory[kRoot + (kUser >> 39 & 511) * 8] = 0x2001;
  store(kRoot + (kUser >> 39 & 511) * 8, 0x2001);
  store(0x2000 + (kUser >> 30 & 511) * 8, 0x3001);
  store(0x3000 + (kUser >> 21 & 511) * 8, 0x110000000 | 0x81);
  EXPECT_EQ(std::count(done.begin(), done.end(), 'w'), 3);
}

TEST_F(Flushes, BelongToTheirProcessor) {
  const uint64_t entry = build(kUser);
  add(Flush::write_back, kUser, 0);
  add(Flush::write_back, kUser, 3);
  store(entry, 0x100000 | 7);
  EXPECT_NE(done.find("0:w"), done.npos);
  EXPECT_NE(done.find("3:w"), done.npos);
}

TEST_F(Flushes, StoreThatMapsNothing) {
  const uint64_t entry = build(kUser);
  add(Flush::write_back, kUser);
  store(entry, 0x100000);  // not present
  EXPECT_EQ(done, "");
  EXPECT_EQ(flushes.pages(), 1u);
}

// Each change costs all processors what they know of pages.
TEST_F(Flushes, GenerationsAreTablesThatBeginToBeWatched) {
  const uint64_t entry = build(kUser);
  EXPECT_EQ(flushes.generation(), 0u);
  add(Flush::write_back, kUser);
  EXPECT_EQ(flushes.generation(), 1u);
  add(Flush::write_back, kUser + kPageSize);
  store(entry + 16, 0x300000 | 7);
  store(entry, 0x100000);  // not present
  store(entry, 0x100000 | 7);
  store(entry + 8, 0x200000 | 7);
  EXPECT_FALSE(flushes.watches(entry));
  EXPECT_EQ(flushes.generation(), 1u);
  add(Flush::write_back, kUser + 3 * kPageSize);
  EXPECT_EQ(flushes.generation(), 2u);
}

// A table that is put in is watched in place of the one above.
TEST_F(Flushes, GenerationChangesWithTheTable) {
  add(Flush::write_back, kUser);
  build(kUser);
  EXPECT_EQ(flushes.generation(), 4u);
}

TEST_F(Flushes, AreBounded) {
  build(kUser);
  for (uint64_t page = 0; page < 10; ++page) add(Flush::write_back, kUser + page * kPageSize);
  EXPECT_EQ(flushes.pages(), 4u);
  EXPECT_EQ(flushes.forgotten(), 6u);
}

}  // namespace
}  // namespace noncoherent
