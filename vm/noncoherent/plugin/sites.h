// SPDX-License-Identifier: Apache-2.0
// Places in the guest's code: where it is, in which file, and who called.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "model/blame.h"
#include "plugin/page_tables.h"

namespace noncoherent {

// Of an ELF file (note NT_GNU_BUILD_ID, SHA-1); zeroes if it is not known.
using BuildId = std::array<uint8_t, 20>;

struct Frame {
  uint64_t address;  // of the instruction, or the one to return to
  uint64_t
      offset;  // the same as its file has it; of the kernel, and of what is not known: as it is
  BuildId file;
  uint32_t unused;
  std::array<uint8_t, 32> code;  // what is there: tells the file where its header is not mapped
};
static_assert(sizeof(Frame) == 72);

struct SiteEntry {
  static constexpr size_t kFrames = 6;

  BuildId program;  // of the process, also where its kernel works for it
  uint32_t frames;
  uint64_t translated;               // the address that the instruction had then
  uint64_t top;                      // what the stack pointer pointed to
  uint64_t in_vain;                  // how many flushes from here did nothing
  std::array<Frame, kFrames> frame;  // the innermost first
};
static_assert(sizeof(SiteEntry) == 480);

// The sites of one host, in a file that outlives the guest and is used again by its next start.
struct SiteTable {
  static constexpr size_t kMost = 1 << 16;

  uint64_t count;  // number 0 is not used
  uint64_t left_off;
  std::array<SiteEntry, kMost> sites;
};

// The guest's memory as a process sees it.
class GuestCode {
 public:
  // `root` is CR3. Reads of physical memory must not fault: zero is a good answer.
  GuestCode(uint64_t root, const ReadPhysical& read) : root_(root), read_(read) {}

  // Eight bytes; nothing if they are not mapped.
  std::optional<uint64_t> word(uint64_t address) const;
  bool bytes(uint64_t address, std::span<uint8_t> into) const;

 private:
  uint64_t root_;
  const ReadPhysical& read_;
};

// Finds the ELF files that are mapped in a process by their headers.
class Modules {
 public:
  struct Module {
    uint64_t base, end;
    uint64_t moved;  // by how much from where its file says
    BuildId file;
  };
  // The one in which `address` is.
  std::optional<Module> find(uint64_t root, const GuestCode& code, uint64_t address);
  // The one whose header is at `base`.
  static std::optional<Module> at(const GuestCode& code, uint64_t base);

 private:
  std::map<uint64_t, std::vector<Module>> found_;  // by CR3
};

// The program that a process executes, if its header is mapped.
BuildId program_of(const GuestCode& code);

// Where an instruction was when it was translated. The translation serves all processes that have
// mapped its page, wherever they have.
struct CodePlace {
  uint64_t address;
  const uint8_t* bytes;  // of its page from there on, in QEMU's memory
};

// Thread-safe.
class Sites {
 public:
  explicit Sites(SiteTable& table);

  // The number of the site with this instruction, stack pointer `stack` and what lies there.
  Site number(const CodePlace& at, uint64_t stack, uint64_t top, uint64_t root,
              const BuildId& program, const ReadPhysical& read);
  void flushed_in_vain(Site site);

 private:
  using Key = std::tuple<uint64_t, uint64_t, BuildId>;

  uint64_t address_in(const CodePlace& at, uint64_t root, const BuildId& program,
                      const ReadPhysical& read);

  std::mutex mutex_;
  SiteTable& table_;
  std::map<Key, Site> numbers_;
  Modules modules_;
  std::map<std::pair<BuildId, uint64_t>, uint64_t> pages_;  // of code: where they really are
};

// Whether code before `address` looks as if it had called from there.
bool follows_call(const GuestCode& code, uint64_t address);

}  // namespace noncoherent
