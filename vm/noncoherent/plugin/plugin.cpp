// SPDX-License-Identifier: Apache-2.0
// Tells the model of what the guest executes. Built for QEMU as a module.
//
// Loads are not watched: they run at full speed. Nor are stores to the stack, more than half of
// all: where somebody has a stack in a device, what they change is found by comparing, as for
// stores of devices. Of other stores, those to other memory are sorted out by a small table per
// processor of pages that are not a device's. It holds what a processor's own buffer of
// translations may hold, and is emptied where the guest has to empty that (MOV to CR, INVLPG,
// INVPCID).
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "plugin/configuration.h"
#include "plugin/decode.h"
#include "plugin/machine.h"
#include "plugin/page_tables.h"
#include "plugin/qemu_api.h"

extern "C" {
__attribute__((visibility("default"))) int qemu_plugin_version = 7;
__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id,
                                                               const qemu_info_t* info, int argc,
                                                               char** argv);
}

namespace noncoherent {
namespace {

// The first sixteen as instructions number them.
constexpr const char* kRegisters[] = {"rax", "rcx", "rdx", "rbx",     "rsp",    "rbp", "rsi",
                                      "rdi", "r8",  "r9",  "r10",     "r11",    "r12", "r13",
                                      "r14", "r15", "cr3", "fs_base", "gs_base"};
constexpr int kStackPointer = 4, kCr3 = 16, kFsBase = 17, kGsBase = 18;

constexpr uint64_t kLongestStore = 64;  // bytes

class Bytes {
 public:
  Bytes() : array_(g_byte_array_new()) {}
  ~Bytes() { g_byte_array_free(array_, 1); }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  GByteArray* empty() { return g_byte_array_set_size(array_, 0); }
  uint64_t number() const {
    uint64_t value = 0;
    std::memcpy(&value, array_->data, std::min<size_t>(array_->len, sizeof(value)));
    return value;
  }

 private:
  GByteArray* array_;
};

struct Vcpu {
  uint64_t generation = 0;            // that of the machine when `others` was emptied
  std::array<uint64_t, 1024> others;  // by their last ten bits: numbers of pages of other memory
  uint64_t flushed = kNone;           // the page of a device that was flushed last,
  uint64_t flushed_place = 0;         // and where it is
  uint64_t stack = kNone;             // the page of the stack, while somebody looks for blame,
  uint64_t stack_place = 0;           // and where it is
  BuildId program{};                  // that is in the address space
  bool program_known = false;
  std::array<qemu_plugin_register*, std::size(kRegisters)> registers{};
  Bytes bytes;

  static constexpr uint64_t kNone = ~uint64_t{0};

  Vcpu() { forget(); }
  void forget() {
    others.fill(kNone);
    flushed = stack = kNone;
    program_known = false;
  }
  uint64_t read(int number) {
    qemu_plugin_register* const found = registers[static_cast<size_t>(number)];
    if (found == nullptr || !qemu_plugin_read_register(found, bytes.empty())) {
      throw std::runtime_error(std::string("register ") + kRegisters[number] + " cannot be read");
    }
    return bytes.number();
  }
};

// A flush as it stands in the guest's code; kept for good, each kind once.
struct FlushInstruction {
  Flush flush;
  Address address;
  uint64_t next;        // the address of the next instruction where it matters
  const CodePlace* at;  // null if nobody looks for blame
};

struct State {
  std::unique_ptr<Machine> machine;
  std::vector<std::unique_ptr<Vcpu>> vcpus;
  qemu_plugin_u64 waiting;  // per processor: whether a fence has something to do
  bool started = false;

  std::mutex mutex;  // of `flushes` and `places`
  std::map<std::tuple<int, int, int, int, unsigned, int64_t, uint64_t, const CodePlace*>,
           FlushInstruction>
      flushes;
  std::map<std::pair<uint64_t, const uint8_t*>, CodePlace> places;
};

State* state;
// What each store reads: of `state`.
const std::unique_ptr<Vcpu>* vcpus;
const std::atomic<uint64_t>* generation;

// QEMU cannot take an exception: it ends the guest.
template <typename Body>
void guarded(const Body& body) noexcept {
  try {
    body();
  } catch (const std::exception& error) {
    state->machine->die(error.what());
  }
}

uint64_t read_physical(Bytes& bytes, uint64_t address) {
  return qemu_plugin_read_memory_hwaddr(address, bytes.empty(), 8) == 0 ? bytes.number() : 0;
}

// Of guest memory that is no device's: that could be absent, and its cache is locked.
uint64_t read_ordinary(Bytes& bytes, uint64_t address) {
  return state->machine->find(address) ? 0 : read_physical(bytes, address);
}

// The instruction of a processor that this thread emulates.
class Here final : public Whereabouts {
 public:
  Here(unsigned index, const CodePlace* at) : vcpu_(*state->vcpus[index]), at_(at) {
    if (state->machine->sites() != nullptr) current = this;
  }
  ~Here() override { current = nullptr; }
  Here(const Here&) = delete;
  Here& operator=(const Here&) = delete;

  Site site() override {
    if (site_ != 0) return site_;
    const ReadPhysical read = [this](uint64_t place) { return read_ordinary(vcpu_.bytes, place); };
    const uint64_t root = vcpu_.read(kCr3);
    const uint64_t stack = vcpu_.read(kStackPointer);
    if (stack / kPageSize != vcpu_.stack) {
      const Translation found = translate(root, stack, read);
      vcpu_.stack_place = found.mapped ? found.address - stack % kPageSize : 0;
      vcpu_.stack = stack / kPageSize;
    }
    if (!vcpu_.program_known) {
      const GuestCode code(root, read);
      vcpu_.program = program_of(code);
      vcpu_.program_known = true;
    }
    const uint64_t top = read(vcpu_.stack_place + stack % kPageSize / 8 * 8);
    return site_ = state->machine->sites()->number(*at_, stack, top, root, vcpu_.program, read);
  }

  void flushes_in_vain() override { state->machine->sites()->flushed_in_vain(site()); }

 private:
  Vcpu& vcpu_;
  const CodePlace* const at_;
  Site site_ = 0;
};

void note_waiting(unsigned vcpu) {
  qemu_plugin_u64_set(state->waiting, vcpu, state->machine->waiting(vcpu) ? 1 : 0);
}

uint64_t address_of(Vcpu& vcpu, const FlushInstruction& instruction) {
  const Address& from = instruction.address;
  uint64_t address = static_cast<uint64_t>(from.displacement);
  if (from.base == Address::kNextInstruction) {
    address += instruction.next;
  } else if (from.base != Address::kNone) {
    address += vcpu.read(from.base);
  }
  if (from.index != Address::kNone) address += vcpu.read(from.index) * from.scale;
  if (from.truncated) address &= 0xffffffff;
  if (from.segment == Address::Segment::fs) address += vcpu.read(kFsBase);
  if (from.segment == Address::Segment::gs) address += vcpu.read(kGsBase);
  return address;
}

void flush_executed(unsigned index, void* data) {
  guarded([&] {
    const auto& instruction = *static_cast<const FlushInstruction*>(data);
    Vcpu& vcpu = *state->vcpus[index];
    const Here here(index, instruction.at);
    const uint64_t address = address_of(vcpu, instruction);
    if (address / kPageSize == vcpu.flushed) {
      state->machine->flush(index, instruction.flush, vcpu.flushed_place + address % kPageSize);
      return note_waiting(index);
    }
    const uint64_t root = vcpu.read(kCr3);
    const Translation found =
        translate(root, address, [&](uint64_t place) { return read_physical(vcpu.bytes, place); });
    if (found.mapped) {
      vcpu.flushed = address / kPageSize;
      vcpu.flushed_place = found.address - address % kPageSize;
      state->machine->flush(index, instruction.flush, found.address);
    } else {
      state->machine->flush_unmapped(index, instruction.flush, root, address, found.address);
    }
    note_waiting(index);
  });
}

// Of instructions that are the same for the machine wherever they stand.
template <void (Machine::*tell)(unsigned processor)>
void executed(unsigned index, void*) {
  guarded([&] {
    (*state->machine.*tell)(index);
    note_waiting(index);
  });
}

void address_space_changes(unsigned index, void*) { state->vcpus[index]->forget(); }

void caches_discarded(unsigned, void*) {
  state->machine->die("the guest executed INVD, which loses what is in its caches");
}

// Where the store went, for those to a device. Page tables are looked after here.
std::optional<Place> place_of(unsigned index, qemu_plugin_meminfo_t info, uint64_t address,
                              unsigned length) {
  Vcpu& vcpu = *state->vcpus[index];
  const uint64_t page = address / kPageSize;
  uint64_t& known = vcpu.others[page % vcpu.others.size()];
  const uint64_t now = generation->load();
  if (vcpu.generation != now) {
    vcpu.forget();
    vcpu.generation = now;
  }
  if (known == page && address % kPageSize + length <= kPageSize) return std::nullopt;
  const qemu_plugin_hwaddr* const hardware = qemu_plugin_get_hwaddr(info, address);
  if (hardware == nullptr) return std::nullopt;
  const uint64_t physical = qemu_plugin_hwaddr_phys_addr(hardware);
  const std::optional<Place> place = state->machine->find(physical);
  if (place) return place;
  if (state->machine->watches(physical)) {
    Whereabouts::current = nullptr;  // who flushed is not who maps the page
    state->machine->entry_stored(
        physical, [&](uint64_t entry) { return read_physical(vcpu.bytes, entry); },
        [](unsigned processor) { qemu_plugin_u64_set(state->waiting, processor, 1); });
  } else {
    known = page;
  }
  return std::nullopt;
}

// Nearly every store: whole in a page that is known to be other memory.
bool is_elsewhere(unsigned index, uint64_t address) {
  const Vcpu& vcpu = *vcpus[index];
  const uint64_t page = address / kPageSize;
  return vcpu.others[page % vcpu.others.size()] == page &&
         address % kPageSize <= kPageSize - kLongestStore &&
         vcpu.generation == generation->load(std::memory_order_relaxed);
}

// Tells of each part of a store to devices: it may reach into another page, and so another device.
template <typename Tell>
void each_part(unsigned index, qemu_plugin_meminfo_t info, uint64_t address, const Tell& tell) {
  if (is_elsewhere(index, address)) return;
  guarded([&] {
    const unsigned length = 1u << qemu_plugin_mem_size_shift(info);
    const unsigned first =
        static_cast<unsigned>(std::min<uint64_t>(length, kPageSize - address % kPageSize));
    if (const auto place = place_of(index, info, address, length)) tell(*place, 0u, first);
    if (first == length) return;
    if (const auto place = place_of(index, info, address + first, length - first)) {
      tell(*place, first, length - first);
    }
  });
}

void stored(unsigned index, qemu_plugin_meminfo_t info, uint64_t address, void*) {
  each_part(index, info, address,
            [](Place place, unsigned, unsigned length) { state->machine->stored(place, length); });
}

void stored_beside_others(unsigned index, qemu_plugin_meminfo_t info, uint64_t address, void*) {
  each_part(index, info, address, [info](Place place, unsigned skipped, unsigned length) {
    const qemu_plugin_mem_value value = qemu_plugin_mem_get_value(info);
    state->machine->stored_beside_others(place, length,
                                         reinterpret_cast<const std::byte*>(value.bytes) + skipped);
  });
}

void stored_around(unsigned index, qemu_plugin_meminfo_t info, uint64_t address, void*) {
  each_part(index, info, address, [index](Place place, unsigned, unsigned length) {
    state->machine->stored_around(index, place, length);
    note_waiting(index);
  });
}

// Of loads and stores while somebody looks for blame.
template <qemu_plugin_vcpu_mem_cb_t tell>
void blamed(unsigned index, qemu_plugin_meminfo_t info, uint64_t address, void* at) {
  if (is_elsewhere(index, address)) return;
  const Here here(index, static_cast<const CodePlace*>(at));
  tell(index, info, address, nullptr);
}

void loaded(unsigned index, qemu_plugin_meminfo_t info, uint64_t address, void*) {
  each_part(index, info, address,
            [](Place place, unsigned, unsigned length) { state->machine->loaded(place, length); });
}

CodePlace* place_in_code(const qemu_plugin_insn* insn) {
  if (state->machine->sites() == nullptr) return nullptr;
  const CodePlace place{qemu_plugin_insn_vaddr(insn),
                        static_cast<const uint8_t*>(qemu_plugin_insn_haddr(insn))};
  const std::lock_guard lock(state->mutex);
  return &state->places.try_emplace({place.address, place.bytes}, place).first->second;
}

FlushInstruction* intern(Flush flush, const Address& from, uint64_t next, const CodePlace* at) {
  if (from.base != Address::kNextInstruction) next = 0;
  const std::lock_guard lock(state->mutex);
  const auto key =
      std::tuple(static_cast<int>(flush), static_cast<int>(from.segment), from.base, from.index,
                 from.scale * 2 + from.truncated, from.displacement, next, at);
  return &state->flushes.try_emplace(key, FlushInstruction{flush, from, next, at}).first->second;
}

void watch_flush(qemu_plugin_insn* insn, Flush flush, const Address& address) {
  const uint64_t next = qemu_plugin_insn_vaddr(insn) + qemu_plugin_insn_size(insn);
  qemu_plugin_register_vcpu_insn_exec_cb(insn, flush_executed, QEMU_PLUGIN_CB_R_REGS,
                                         intern(flush, address, next, place_in_code(insn)));
}

void watch_fence(qemu_plugin_insn* insn, qemu_plugin_vcpu_udata_cb_t executed) {
  qemu_plugin_register_vcpu_insn_exec_cond_cb(insn, executed, QEMU_PLUGIN_CB_NO_REGS,
                                              QEMU_PLUGIN_COND_NE, state->waiting, 0, nullptr);
}

// Loads and stores of the instruction, or stores alone.
template <qemu_plugin_vcpu_mem_cb_t tell>
void watch_memory(qemu_plugin_insn* insn, qemu_plugin_mem_rw which) {
  const bool blames = state->machine->sites() != nullptr;
  qemu_plugin_register_vcpu_mem_cb(insn, blames ? blamed<tell> : tell,
                                   blames ? QEMU_PLUGIN_CB_R_REGS : QEMU_PLUGIN_CB_NO_REGS, which,
                                   place_in_code(insn));
}

void watch(qemu_plugin_insn* insn) {
  uint8_t bytes[16];
  const size_t length = qemu_plugin_insn_data(insn, bytes, sizeof(bytes));
  // What is cut short is code of 16 bits, of before the kernel: it has no flushes.
  const Instruction found = decode({bytes, length}).value_or(Instruction{});
  if (state->machine->sites() != nullptr) watch_memory<loaded>(insn, QEMU_PLUGIN_MEM_R);
  switch (found.kind) {
    case Kind::clwb:
      return watch_flush(insn, Flush::write_back, found.address);
    case Kind::clflush:
      return watch_flush(insn, Flush::invalidate_ordered, found.address);
    case Kind::clflushopt:
      return watch_flush(insn, Flush::invalidate, found.address);
    case Kind::store_around:
      return watch_memory<stored_around>(insn, QEMU_PLUGIN_MEM_W);
    case Kind::store_fence:
      return watch_fence(insn, executed<&Machine::store_fence>);
    case Kind::full_fence:
      watch_fence(insn, executed<&Machine::full_fence>);
      return watch_memory<stored>(insn, QEMU_PLUGIN_MEM_W);
    case Kind::address_space:
      watch_fence(insn, executed<&Machine::full_fence>);
      qemu_plugin_register_vcpu_insn_exec_cb(insn, address_space_changes, QEMU_PLUGIN_CB_NO_REGS,
                                             nullptr);
      break;
    case Kind::write_back_all:
    case Kind::invalidate_all:
      qemu_plugin_register_vcpu_insn_exec_cb(
          insn, executed<&Machine::write_back_and_invalidate_all>, QEMU_PLUGIN_CB_NO_REGS, nullptr);
      return;
    case Kind::discard_all:
      qemu_plugin_register_vcpu_insn_exec_cb(insn, caches_discarded, QEMU_PLUGIN_CB_NO_REGS,
                                             nullptr);
      return;
    case Kind::stack_at_most:
      return;
    case Kind::other:
      break;
  }
  if (state->machine->processors() > 1) {
    watch_memory<stored_beside_others>(insn, QEMU_PLUGIN_MEM_W);
  } else {
    watch_memory<stored>(insn, QEMU_PLUGIN_MEM_W);
  }
}

void translated(qemu_plugin_tb* block, void*) {
  guarded([&] {
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); ++i) {
      watch(qemu_plugin_tb_get_insn(block, i));
    }
  });
}

void vcpu_started(unsigned index, void*) {
  guarded([&] {
    const std::lock_guard lock(state->mutex);
    auto vcpu = std::make_unique<Vcpu>();
    GArray* const found = qemu_plugin_get_registers();
    const auto* const first = reinterpret_cast<const qemu_plugin_reg_descriptor*>(found->data);
    for (unsigned i = 0; i < found->len; ++i) {
      const auto* const name =
          std::find(std::begin(kRegisters), std::end(kRegisters), std::string_view(first[i].name));
      if (name != std::end(kRegisters)) vcpu->registers[name - kRegisters] = first[i].handle;
    }
    g_array_free(found, 1);
    state->vcpus.at(index) = std::move(vcpu);
    if (!state->started) state->machine->start();
    state->started = true;
  });
}

}  // namespace
}  // namespace noncoherent

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc, char** argv) {
  using namespace noncoherent;
  try {
    const std::string_view target = info->target_name;
    if (target != "x86_64" || !info->system_emulation) {
      throw std::invalid_argument("only machines of x86-64 are known, not " + std::string(target));
    }
    constexpr std::string_view kKey = "configuration=";
    if (argc != 1 || !std::string_view(argv[0]).starts_with(kKey)) {
      throw std::invalid_argument("one argument is allowed, configuration=FILE");
    }
    const auto processors = static_cast<unsigned>(info->system.max_vcpus);
    auto made = std::make_unique<State>();
    made->machine =
        std::make_unique<Machine>(Configuration::read(argv[0] + kKey.size()), processors);
    made->vcpus.resize(processors);
    made->waiting = {qemu_plugin_scoreboard_new(sizeof(uint64_t)), 0};
    vcpus = made->vcpus.data();
    generation = &made->machine->generation();
    state = made.release();  // for as long as the process runs: its threads outlive main()
  } catch (const std::exception& error) {
    std::fprintf(stderr, "noncoherent: %s\n", error.what());
    return 1;
  }
  qemu_plugin_register_vcpu_init_cb(id, vcpu_started, nullptr);
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated, nullptr);
  return 0;
}
