// SPDX-License-Identifier: Apache-2.0
#include "plugin/decode.h"

namespace noncoherent {
namespace {

// Reads an instruction from its start; past its end everything is zero and `short_of` is set.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  uint8_t peek() { return at(position_); }
  uint8_t next() {
    const uint8_t byte = peek();
    ++position_;
    return byte;
  }
  int64_t number(unsigned size) {
    uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) value |= uint64_t{next()} << (8 * i);
    const unsigned unused = 64 - 8 * size;
    return static_cast<int64_t>(value << unused) >> unused;
  }
  bool short_of() const { return position_ > bytes_.size(); }

 private:
  uint8_t at(size_t position) const { return position < bytes_.size() ? bytes_[position] : 0; }

  std::span<const uint8_t> bytes_;
  size_t position_ = 0;
};

struct Prefixes {
  bool operand_size = false, address_size = false, lock = false;
  uint8_t repeat = 0;  // F2 or F3
  uint8_t rex = 0;
  Address::Segment segment = Address::Segment::flat;
};

Prefixes read_prefixes(Reader& reader) {
  Prefixes found;
  for (;; reader.next()) {
    const uint8_t byte = reader.peek();
    if (byte == 0x66) {
      found.operand_size = true;
    } else if (byte == 0x67) {
      found.address_size = true;
    } else if (byte == 0xf0) {
      found.lock = true;
    } else if (byte == 0xf2 || byte == 0xf3) {
      found.repeat = byte;
    } else if (byte == 0x64) {
      found.segment = Address::Segment::fs;
    } else if (byte == 0x65) {
      found.segment = Address::Segment::gs;
    } else if (byte != 0x26 && byte != 0x2e && byte != 0x36 && byte != 0x3e) {
      break;
    }
    if (reader.short_of()) return found;
  }
  if ((reader.peek() & 0xf0) == 0x40) found.rex = reader.next();  // counts right before the opcode
  return found;
}

unsigned field(uint8_t modrm) { return modrm >> 3 & 7; }
bool names_register(uint8_t modrm) { return modrm >= 0xc0; }

// SDM volume 2, 2.1.5 and 2.2.1, tables 2-2 and 2-3.
Address read_address(Reader& reader, const Prefixes& prefixes, uint8_t modrm) {
  Address address{.segment = prefixes.segment, .truncated = prefixes.address_size};
  const unsigned mod = modrm >> 6;
  const int high_base = (prefixes.rex & 1) != 0 ? 8 : 0;
  if ((modrm & 7) == 4) {
    const uint8_t sib = reader.next();
    const int index = field(sib) + ((prefixes.rex & 2) != 0 ? 8 : 0);
    if (index != 4) address.index = index;
    address.scale = 1u << (sib >> 6);
    if ((sib & 7) != 5 || mod != 0) {
      address.base = (sib & 7) + high_base;
    } else {
      address.displacement = reader.number(4);
    }
  } else if ((modrm & 7) == 5 && mod == 0) {
    address.base = Address::kNextInstruction;
    address.displacement = reader.number(4);
  } else {
    address.base = (modrm & 7) + high_base;
  }
  if (mod == 1) address.displacement = reader.number(1);
  if (mod == 2) address.displacement = reader.number(4);
  return address;
}

constexpr int kStackPointer = 4;

// Of an instruction that stores to what its ModRM byte, next in `reader`, names; `storing` has a
// bit for each operation in the byte's middle field that does.
Kind store_to_operand(Reader& reader, const Prefixes& prefixes, unsigned storing = 0xff) {
  const uint8_t modrm = reader.next();
  if (names_register(modrm) || (storing >> field(modrm) & 1) == 0) return Kind::stack_at_most;
  const Address address = read_address(reader, prefixes, modrm);
  const bool stack = address.base == kStackPointer && address.segment == Address::Segment::flat;
  return stack ? Kind::stack_at_most : Kind::other;
}

// The usual ones, which are most of what a compiler makes (SDM volume 2, tables ).
Kind one_byte(uint8_t opcode, Reader& reader, const Prefixes& prefixes) {
  if (opcode < 0x40) {  // arithmetic: to memory, to a register, of AL or EAX
    const unsigned form = opcode & 7;
    if (form >= 6) return Kind::other;
    const bool compare = opcode >= 0x38;
    return form >= 2 || compare ? Kind::stack_at_most : store_to_operand(reader, prefixes);
  }
  switch (opcode) {
    case 0x63:  // MOVSXD
    case 0x68:  // PUSH
    case 0x69:  // IMUL
    case 0x6a:
    case 0x6b:
    case 0x84:  // TEST
    case 0x85:
    case 0x8a:  // MOV to a register
    case 0x8b:
    case 0x8d:  // LEA
    case 0x98:
    case 0x99:
    case 0xa8:
    case 0xa9:
    case 0xc2:  // RET
    case 0xc3:
    case 0xc9:  // LEAVE
    case 0xe8:  // CALL
    case 0xe9:
    case 0xeb:
      return Kind::stack_at_most;
    case 0x80:
    case 0x81:
    case 0x83:  // all but CMP
      return store_to_operand(reader, prefixes, 0b0111'1111);
    case 0x88:  // MOV to memory
    case 0x89:
    case 0xc0:  // shifts
    case 0xc1:
    case 0xc6:
    case 0xc7:
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
      return store_to_operand(reader, prefixes);
    case 0xf6:
    case 0xf7:  // NOT and NEG
      return store_to_operand(reader, prefixes, 0b1100);
    case 0xfe:
    case 0xff:  // INC and DEC; others jump, or store to the stack
      return store_to_operand(reader, prefixes, 0b11);
    default:
      break;
  }
  const bool push_or_pop = opcode >= 0x50 && opcode < 0x60;
  const bool jump = opcode >= 0x70 && opcode < 0x80;
  const bool exchange_of_registers = opcode >= 0x90 && opcode < 0x98;
  const bool number_to_register = opcode >= 0xb0 && opcode < 0xc0;
  return push_or_pop || jump || exchange_of_registers || number_to_register ? Kind::stack_at_most
                                                                            : Kind::other;
}

Kind fence_or_flush(const Prefixes& prefixes, uint8_t modrm) {
  if (names_register(modrm)) {
    if (prefixes.operand_size || prefixes.repeat != 0) return Kind::other;  // TPAUSE, RDFSBASE
    return field(modrm) == 7   ? Kind::store_fence
           : field(modrm) == 6 ? Kind::full_fence
                               : Kind::other;
  }
  if (prefixes.repeat != 0) return Kind::other;
  if (field(modrm) == 7) return prefixes.operand_size ? Kind::clflushopt : Kind::clflush;
  return field(modrm) == 6 && prefixes.operand_size ? Kind::clwb : Kind::other;
}

Kind two_byte(Reader& reader, const Prefixes& prefixes, Instruction& found) {
  const uint8_t opcode = reader.next();
  switch (opcode) {
    case 0xae: {
      const uint8_t modrm = reader.next();
      const Kind kind = fence_or_flush(prefixes, modrm);
      if (!names_register(modrm)) found.address = read_address(reader, prefixes, modrm);
      return kind;
    }
    case 0x2b:  // MOVNTPS, MOVNTPD
    case 0xc3:  // MOVNTI
    case 0xe7:  // MOVNTQ, MOVNTDQ
      return names_register(reader.next()) ? Kind::other : Kind::store_around;
    case 0xf7:  // MASKMOVQ, MASKMOVDQU
      return prefixes.repeat != 0 ? Kind::other : Kind::store_around;
    case 0x01: {
      const uint8_t modrm = reader.next();
      if (modrm == 0xe8) return Kind::full_fence;  // SERIALIZE
      return field(modrm) == 7 && !names_register(modrm) ? Kind::address_space : Kind::other;
    }
    case 0x08:
      return Kind::discard_all;
    case 0x09:
      return prefixes.repeat == 0xf3 ? Kind::write_back_all : Kind::invalidate_all;
    case 0x20:  // MOV from CR: no effect
      return Kind::other;
    case 0x22:
      return Kind::address_space;
    case 0x30:  // WRMSR
    case 0xa2:  // CPUID
    case 0xaa:  // RSM
      return Kind::full_fence;
    case 0x38:  // INVPCID
      return reader.next() == 0x82 && prefixes.operand_size ? Kind::address_space : Kind::other;
    case 0x10:  // MOVUPS and others, to a register
    case 0x1e:  // ENDBR64
    case 0x1f:  // NOP
    case 0x28:
    case 0x6f:
    case 0xaf:  // IMUL
    case 0xb6:  // MOVZX, MOVSX
    case 0xb7:
    case 0xbe:
    case 0xbf:
      return Kind::stack_at_most;
    case 0x11:  // MOVUPS and others, to memory
    case 0x29:
    case 0x7f:
      return store_to_operand(reader, prefixes);
    default:
      break;
  }
  const bool move_if = opcode >= 0x40 && opcode < 0x50;
  const bool jump_if = opcode >= 0x80 && opcode < 0x90;
  return move_if || jump_if ? Kind::stack_at_most : Kind::other;
}

// Three bytes or two before the opcode; in 64-bit mode these bytes are nothing else.
Kind with_vex(Reader& reader, bool two_bytes) {
  unsigned map = 1;
  if (!two_bytes) map = reader.next() & 0x1f;
  reader.next();
  const uint8_t opcode = reader.next();
  if (map == 2 && opcode == 0xf7) return Kind::other;  // SHLX and others
  if (map != 1) return Kind::other;
  if (opcode == 0xf7) return Kind::store_around;  // VMASKMOVDQU
  if (opcode != 0x2b && opcode != 0xe7) return Kind::other;
  return names_register(reader.next()) ? Kind::other : Kind::store_around;
}

}  // namespace

std::optional<Instruction> decode(std::span<const uint8_t> bytes) {
  Reader reader(bytes);
  const Prefixes prefixes = read_prefixes(reader);
  Instruction found;
  const uint8_t opcode = reader.next();
  switch (opcode) {
    case 0x0f:
      found.kind = two_byte(reader, prefixes, found);
      break;
    case 0xc4:
    case 0xc5:
      found.kind = with_vex(reader, opcode == 0xc5);
      break;
    case 0x86:  // XCHG
    case 0x87:
      if (!names_register(reader.next())) found.kind = Kind::full_fence;
      break;
    case 0xcf:  // IRET
      found.kind = Kind::full_fence;
      break;
    default:
      found.kind = one_byte(opcode, reader, prefixes);
      break;
  }
  const bool plain = found.kind == Kind::other || found.kind == Kind::stack_at_most;
  if (prefixes.lock && plain) found.kind = Kind::full_fence;
  if (reader.short_of()) return std::nullopt;
  return found;
}

}  // namespace noncoherent
