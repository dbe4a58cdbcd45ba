// SPDX-License-Identifier: Apache-2.0
// Places in code are found in a process that is made of bytes here.
#include "plugin/sites.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string_view>

namespace noncoherent {
namespace {

// Physical memory with page tables that map what is asked for; every address has a page of its own.
class Guest {
 public:
  static constexpr uint64_t kRoot = 0x1000;

  ReadPhysical read = [this](uint64_t place) {
    const auto found = words_.find(place);
    return found == words_.end() ? uint64_t{0} : found->second;
  };

  void put(uint64_t address, const void* bytes, size_t length) {
    for (size_t i = 0; i < length; ++i) {
      const uint64_t place = map(address + i);
      uint64_t& word = words_[place / 8 * 8];
      reinterpret_cast<char*>(&word)[place % 8] = static_cast<const char*>(bytes)[i];
    }
  }
  void put(uint64_t address, uint64_t word) { put(address, &word, sizeof(word)); }
  // A file with one loaded segment and a build ID of `fill`.
  void put_file(uint64_t base, uint64_t size, uint8_t fill) {
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_phoff = sizeof(header);
    header.e_phnum = 2;
    header.e_phentsize = sizeof(Elf64_Phdr);
    Elf64_Phdr segments[2]{};
    segments[0].p_type = PT_LOAD;
    segments[0].p_memsz = size;
    segments[1].p_type = PT_NOTE;
    segments[1].p_vaddr = 0x200;
    segments[1].p_memsz = 36;
    const Elf64_Nhdr note{4, 20, NT_GNU_BUILD_ID};
    BuildId id;
    id.fill(fill);
    put(base, &header, sizeof(header));
    put(base + sizeof(header), segments, sizeof(segments));
    put(base + 0x200, &note, sizeof(note));
    put(base + 0x20c, "GNU", 4);
    put(base + 0x210, id.data(), id.size());
  }

 private:
  uint64_t map(uint64_t address) {
    uint64_t table = kRoot;
    for (unsigned shift = 39;; shift -= 9) {
      uint64_t& entry = words_[table + (address >> shift & 511) * 8];
      if (entry == 0) entry = (next_ += kPageSize) | 5;
      table = entry & ~uint64_t{4095};
      if (shift == 12) return table + address % kPageSize;
    }
  }

  std::map<uint64_t, uint64_t> words_;
  uint64_t next_ = 0x10000;
};

constexpr uint64_t kProgram = 0x555555554000, kLibrary = 0x7ffff7d00000, kStack = 0x7ffffffde000;
constexpr uint8_t kCall[] = {0xe8, 1, 2, 3, 4};

class Sites : public ::testing::Test {
 protected:
  Sites() {
    guest.put_file(kProgram, 0x9000, 1);
    guest.put_file(kLibrary, 0x200000, 2);
    guest.put(kCaller - sizeof(kCall), kCall, sizeof(kCall));
    guest.put(kLibrary + 0x160000, uint64_t{0x90909090});
    guest.put(kStack, uint64_t{17});           // no address
    guest.put(kStack + 8, kProgram + 0x1000);  // no call before it
    guest.put(kStack + 16, kCaller);
    program.fill(1);
  }
  Site number(uint64_t pc, uint64_t top = 17) {
    std::memset(code, 0x90, sizeof(code));
    return sites->number({pc, code + pc % kPageSize}, kStack, top, Guest::kRoot, program,
                         guest.read);
  }

  uint8_t code[kPageSize];  // of the instruction, as QEMU has it

  static constexpr uint64_t kCaller = kProgram + 0x1234;
  Guest guest;
  BuildId program;
  std::unique_ptr<SiteTable> table = std::make_unique<SiteTable>();
  std::unique_ptr<noncoherent::Sites> sites = std::make_unique<noncoherent::Sites>(*table);
};

TEST_F(Sites, HaveFileOffsetAndCallers) {
  const SiteEntry& entry = table->sites[number(kLibrary + 0x160004)];
  ASSERT_EQ(entry.frames, 2u);
  EXPECT_EQ(entry.program, program);
  EXPECT_EQ(entry.frame[0].offset, 0x160004u);
  EXPECT_EQ(entry.frame[0].file[19], 2);
  EXPECT_EQ(entry.frame[1].address, kCaller);
  EXPECT_EQ(entry.frame[1].offset, 0x1234u);
  EXPECT_EQ(entry.frame[1].file, program);
}

TEST_F(Sites, AreWhereThisProcessHasMappedTheirPage) {
  uint8_t page[kPageSize];
  for (size_t i = 0; i < sizeof(page); ++i) page[i] = static_cast<uint8_t>(i * i / 7);
  guest.put(kLibrary + 0x1000, page, sizeof(page));
  // It was translated where another process has it.
  const CodePlace at{0x7ffff7a00000 + 0x1230, page + 0x230};
  const Site site = sites->number(at, kStack, 17, Guest::kRoot, program, guest.read);
  EXPECT_EQ(table->sites[site].frame[0].offset, 0x1230u);
  EXPECT_EQ(table->sites[site].frame[0].file[0], 2);
}

TEST_F(Sites, OfTheKernelAreAddresses) {
  const SiteEntry& entry = table->sites[number(0xffffffff81000010)];
  ASSERT_EQ(entry.frames, 1u);  // a user's return address is none of the kernel's
  EXPECT_EQ(entry.frame[0].offset, 0xffffffff81000010u);
  EXPECT_EQ(entry.frame[0].file, BuildId{});
}

TEST_F(Sites, HaveOneNumberEachAlsoAfterARestart) {
  const Site first = number(kLibrary + 0x160004), other = number(kLibrary + 0x160008);
  EXPECT_NE(first, 0u);
  EXPECT_NE(first, other);
  EXPECT_NE(first, number(kLibrary + 0x160004, 18));  // called from elsewhere
  EXPECT_EQ(first, number(kLibrary + 0x160004));
  sites = std::make_unique<noncoherent::Sites>(*table);
  EXPECT_EQ(first, number(kLibrary + 0x160004));
  EXPECT_EQ(table->count, 4u);
}

TEST_F(Sites, OfAnotherProcessWithTheSameTablesAreNotTakenForTheOld) {
  number(kLibrary + 0x160004);
  guest.put_file(kLibrary, 0x200000, 3);
  EXPECT_EQ(table->sites[number(kLibrary + 0x160008)].frame[0].file[0], 3);
}

TEST_F(Sites, BeyondTheTableAreNotKnown) {
  table->count = SiteTable::kMost;
  EXPECT_EQ(number(kLibrary), 0u);
  EXPECT_EQ(table->left_off, 1u);
}

TEST_F(Sites, HaveTheCodeThatIsThere) {
  guest.put(0x10000, kCall, sizeof(kCall));
  guest.put(0x1001f, "", 1);
  const SiteEntry& entry = table->sites[number(0x10000)];
  EXPECT_EQ(std::memcmp(entry.frame[0].code.data(), kCall, sizeof(kCall)), 0);
}

TEST_F(Sites, OutsideOfFilesAreAddresses) {
  const SiteEntry& entry = table->sites[number(0x10000)];
  EXPECT_EQ(entry.frame[0].offset, 0x10000u);
  EXPECT_EQ(entry.frame[0].file, BuildId{});
}

}  // namespace
}  // namespace noncoherent
