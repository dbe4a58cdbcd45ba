// SPDX-License-Identifier: Apache-2.0
#include "plugin/sites.h"

#include <elf.h>

#include <algorithm>
#include <cstring>

namespace noncoherent {
namespace {

constexpr uint64_t kKernel = uint64_t{1} << 63;
constexpr uint64_t kMostPages = 16384;  // 64 MiB of a file before its code
constexpr unsigned kMostHeaders = 64;
constexpr uint64_t kMostNotes = 4096;  // bytes
constexpr unsigned kStackWords = 64;
constexpr uint64_t kCompared = 256;  // bytes of a page of code that tell it from others

template <typename T>
std::optional<T> object(const GuestCode& code, uint64_t address) {
  T value;
  std::array<uint8_t, sizeof(T)> raw;
  if (!code.bytes(address, raw)) return std::nullopt;
  std::memcpy(&value, raw.data(), sizeof(T));
  return value;
}

// Source: System V ABI, "Note Section".
std::optional<BuildId> build_id(const GuestCode& code, uint64_t address, uint64_t size) {
  const uint64_t end = address + std::min(size, kMostNotes);
  while (address + sizeof(Elf64_Nhdr) <= end) {
    const auto note = object<Elf64_Nhdr>(code, address);
    if (!note || note->n_namesz > kMostNotes || note->n_descsz > kMostNotes) break;
    const uint64_t description = address + sizeof(Elf64_Nhdr) + (note->n_namesz + 3) / 4 * 4;
    BuildId found;
    if (note->n_type == NT_GNU_BUILD_ID && note->n_descsz == found.size()) {
      return code.bytes(description, found) ? std::optional(found) : std::nullopt;
    }
    address = description + (note->n_descsz + 3) / 4 * 4;
  }
  return std::nullopt;
}

}  // namespace

std::optional<uint64_t> GuestCode::word(uint64_t address) const {
  std::array<uint8_t, 8> raw;
  if (!bytes(address, raw)) return std::nullopt;
  uint64_t value;
  std::memcpy(&value, raw.data(), sizeof(value));
  return value;
}

bool GuestCode::bytes(uint64_t address, std::span<uint8_t> into) const {
  while (!into.empty()) {
    const uint64_t start = address / 8 * 8;
    const Translation found = translate(root_, start, read_);
    if (!found.mapped) return false;
    const uint64_t word = read_(found.address);
    const size_t skipped = address - start;
    const size_t length = std::min(into.size(), sizeof(word) - skipped);
    std::memcpy(into.data(), reinterpret_cast<const char*>(&word) + skipped, length);
    address += length;
    into = into.subspan(length);
  }
  return true;
}

std::optional<Modules::Module> Modules::at(const GuestCode& code, uint64_t base) {
  const auto header = object<Elf64_Ehdr>(code, base);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
      header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum > kMostHeaders) {
    return std::nullopt;
  }
  const uint64_t moved = header->e_type == ET_EXEC ? 0 : base;
  Module found{base, base, moved, {}};
  for (unsigned i = 0; i < header->e_phnum; ++i) {
    const auto segment =
        object<Elf64_Phdr>(code, base + header->e_phoff + uint64_t{i} * sizeof(Elf64_Phdr));
    if (!segment) return std::nullopt;
    if (segment->p_type == PT_LOAD) {
      found.end = std::max(found.end, moved + segment->p_vaddr + segment->p_memsz);
    } else if (segment->p_type == PT_NOTE) {
      const auto id = build_id(code, moved + segment->p_vaddr, segment->p_memsz);
      if (id) found.file = *id;
    }
  }
  return found;
}

std::optional<Modules::Module> Modules::find(uint64_t root, const GuestCode& code,
                                             uint64_t address) {
  std::vector<Module>& known = found_[root];
  const auto has = [address](const Module& one) {
    return address >= one.base && address < one.end;
  };
  if (const auto old = std::find_if(known.begin(), known.end(), has); old != known.end()) {
    // Another process may have the same CR3 by now.
    const auto now = at(code, old->base);
    if (now && now->file == old->file) return *old;
    known.clear();
  }
  const uint64_t page = address / kPageSize * kPageSize;
  for (uint64_t below = 0; below < kMostPages * kPageSize && below < page; below += kPageSize) {
    const auto found = at(code, page - below);
    if (!found) continue;
    if (!has(*found)) return std::nullopt;
    known.push_back(*found);
    return found;
  }
  return std::nullopt;
}

// Where the kernel puts a program that can lie anywhere, told not to choose by chance (norandmaps),
// is ELF_ET_DYN_BASE of arch/x86; where linkers put others is their default.
BuildId program_of(const GuestCode& code) {
  for (const uint64_t base : {uint64_t{0x555555554000}, uint64_t{0x400000}}) {
    if (const auto found = Modules::at(code, base)) return found->file;
  }
  return {};
}

// Source: Intel SDM volume 2, CALL: E8 and a displacement of 32 bits, or FF /2.
bool follows_call(const GuestCode& code, uint64_t address) {
  std::array<uint8_t, 7> before;
  if (address < before.size() || !code.bytes(address - before.size(), before)) return false;
  const auto at = [&before](size_t distance) { return before[before.size() - distance]; };
  if (at(5) == 0xe8) return true;
  return std::ranges::any_of(std::array<size_t, 4>{2, 3, 6, 7}, [&at](size_t distance) {
    return at(distance) == 0xff && (at(distance - 1) >> 3 & 7) == 2;
  });
}

Sites::Sites(SiteTable& table) : table_(table) {
  // After a restart: what was found before keeps its number.
  if (table_.count == 0) table_.count = 1;
  for (Site site = 1; site < table_.count && site < SiteTable::kMost; ++site) {
    const SiteEntry& entry = table_.sites[site];
    numbers_.emplace(Key(entry.translated, entry.top, entry.program), site);
  }
}

uint64_t Sites::address_in(const CodePlace& at, uint64_t root, const BuildId& program,
                           const ReadPhysical& read) {
  // The kernel is the same everywhere (nokaslr); no bytes: it is not in memory.
  if (at.address >= kKernel || at.bytes == nullptr) return at.address;
  const uint64_t inside = at.address % kPageSize;
  const auto [known, is_new] = pages_.try_emplace({program, at.address - inside}, 0);
  if (is_new) {
    known->second = at.address - inside;
    const uint64_t first = std::min(inside / 8 * 8, kPageSize - kCompared);
    each_code_page(root, read, [&](uint64_t address, uint64_t physical) {
      for (size_t i = 0; i < kCompared / 8; ++i) {
        const uint64_t there = read(physical + first + 8 * i);
        uint64_t here;
        std::memcpy(&here, at.bytes - inside + first + 8 * i, sizeof(here));
        if (here != there) return;
      }
      known->second = address;
    });
  }
  return known->second + inside;
}

Site Sites::number(const CodePlace& at, uint64_t stack, uint64_t top, uint64_t root,
                   const BuildId& program, const ReadPhysical& read) {
  const std::lock_guard lock(mutex_);
  const auto [place, is_new] = numbers_.try_emplace(Key(at.address, top, program), 0);
  if (!is_new) return place->second;
  if (table_.count == SiteTable::kMost) {
    ++table_.left_off;
    return 0;
  }
  const GuestCode code(root, read);
  SiteEntry entry{};
  entry.translated = at.address;
  entry.top = top;
  entry.program = program;
  const auto add = [&](uint64_t address) {
    Frame frame{address, address, {}, 0, {}};
    if (address < kKernel) {
      if (!code.bytes(address, frame.code)) frame.code.fill(0);
      if (const auto module = modules_.find(root, code, address)) {
        frame.offset = address - module->moved;
        frame.file = module->file;
      }
    }
    entry.frame[entry.frames++] = frame;
  };
  const uint64_t pc = address_in(at, root, program, read);
  add(pc);
  for (unsigned i = 0; i < kStackWords && entry.frames < SiteEntry::kFrames; ++i) {
    const auto word = code.word(stack + 8 * i);
    if (!word) break;
    if ((*word < kKernel) == (pc < kKernel) && follows_call(code, *word)) add(*word);
  }
  const auto number = static_cast<Site>(table_.count);
  table_.sites[number] = entry;
  std::atomic_ref(table_.count).store(number + 1, std::memory_order_release);
  return place->second = number;
}

void Sites::flushed_in_vain(Site site) {
  std::atomic_ref(table_.sites[site].in_vain).fetch_add(1, std::memory_order_relaxed);
}

}  // namespace noncoherent
