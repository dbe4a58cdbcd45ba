// SPDX-License-Identifier: Apache-2.0
#include "plugin/decode.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace noncoherent {
namespace {

using Bytes = std::vector<uint8_t>;

Kind kind(const Bytes& bytes) {
  const auto found = decode(bytes);
  EXPECT_TRUE(found.has_value());
  return found ? found->kind : Kind::other;
}

TEST(Decode, Flushes) {
  EXPECT_EQ(kind({0x0f, 0xae, 0x38}), Kind::clflush);
  EXPECT_EQ(kind({0x66, 0x0f, 0xae, 0x38}), Kind::clflushopt);
  EXPECT_EQ(kind({0x66, 0x0f, 0xae, 0x30}), Kind::clwb);
  EXPECT_EQ(kind({0x3e, 0x0f, 0xae, 0x38}), Kind::clflush);  // as Linux writes it, to be patched
  EXPECT_EQ(kind({0x0f, 0xae, 0x30}), Kind::other);          // XSAVEOPT
  EXPECT_EQ(kind({0xf3, 0x0f, 0xae, 0x30}), Kind::other);    // CLRSSBSY
  EXPECT_EQ(kind({0x0f, 0xae, 0x28}), Kind::other);          // XRSTOR
}

TEST(Decode, Fences) {
  EXPECT_EQ(kind({0x0f, 0xae, 0xf8}), Kind::store_fence);
  EXPECT_EQ(kind({0x0f, 0xae, 0xf0}), Kind::full_fence);
  EXPECT_EQ(kind({0x0f, 0xae, 0xe8}), Kind::other);                   // LFENCE
  EXPECT_EQ(kind({0x66, 0x0f, 0xae, 0xf0}), Kind::other);             // TPAUSE
  EXPECT_EQ(kind({0xf0, 0x83, 0x04, 0x24, 0x00}), Kind::full_fence);  // LOCK ADD, Linux's smp_mb()
  EXPECT_EQ(kind({0xf0, 0x48, 0x0f, 0xb1, 0x0a}), Kind::full_fence);  // LOCK CMPXCHG
  EXPECT_EQ(kind({0x48, 0x87, 0x07}), Kind::full_fence);              // XCHG with memory
  EXPECT_EQ(kind({0x48, 0x87, 0xc7}), Kind::other);                   // XCHG of registers
  EXPECT_EQ(kind({0x0f, 0xa2}), Kind::full_fence);                    // CPUID
  EXPECT_EQ(kind({0x48, 0xcf}), Kind::full_fence);                    // IRETQ
  EXPECT_EQ(kind({0x0f, 0x01, 0xe8}), Kind::full_fence);              // SERIALIZE
}

TEST(Decode, AddressSpaces) {
  EXPECT_EQ(kind({0x0f, 0x22, 0xd8}), Kind::address_space);              // MOV CR3
  EXPECT_EQ(kind({0x0f, 0x01, 0x38}), Kind::address_space);              // INVLPG
  EXPECT_EQ(kind({0x66, 0x0f, 0x38, 0x82, 0x08}), Kind::address_space);  // INVPCID
  EXPECT_EQ(kind({0x0f, 0x01, 0xf8}), Kind::other);                      // SWAPGS
  EXPECT_EQ(kind({0x0f, 0x20, 0xd8}), Kind::other);                      // MOV from CR3
}

TEST(Decode, WholeCaches) {
  EXPECT_EQ(kind({0x0f, 0x09}), Kind::invalidate_all);
  EXPECT_EQ(kind({0xf3, 0x0f, 0x09}), Kind::write_back_all);
  EXPECT_EQ(kind({0x0f, 0x08}), Kind::discard_all);
}

TEST(Decode, StoresAroundTheCache) {
  EXPECT_EQ(kind({0x48, 0x0f, 0xc3, 0x07}), Kind::store_around);        // MOVNTI
  EXPECT_EQ(kind({0x66, 0x0f, 0xe7, 0x07}), Kind::store_around);        // MOVNTDQ
  EXPECT_EQ(kind({0x0f, 0x2b, 0x07}), Kind::store_around);              // MOVNTPS
  EXPECT_EQ(kind({0xc5, 0xfd, 0xe7, 0x07}), Kind::store_around);        // VMOVNTDQ
  EXPECT_EQ(kind({0xc4, 0xc1, 0x7d, 0xe7, 0x00}), Kind::store_around);  // VMOVNTDQ [r8]
  EXPECT_EQ(kind({0x66, 0x0f, 0xf7, 0xc1}), Kind::store_around);        // MASKMOVDQU
  EXPECT_EQ(kind({0xc4, 0xe2, 0xf9, 0xf7, 0xc0}), Kind::other);         // SHLX
  EXPECT_EQ(kind({0x66, 0x0f, 0x7f, 0x07}), Kind::other);               // MOVDQA
}

Address address(const Bytes& bytes) {
  const auto found = decode(bytes);
  EXPECT_TRUE(found && found->kind == Kind::clflush);
  return found->address;
}

TEST(Decode, Addresses) {
  EXPECT_EQ(address({0x0f, 0xae, 0x38}).base, 0);               // [rax]
  EXPECT_EQ(address({0x41, 0x0f, 0xae, 0x3c, 0x24}).base, 12);  // [r12]
  const Address near = address({0x0f, 0xae, 0x7d, 0xf8});       // [rbp - 8]
  EXPECT_EQ(near.base, 5);
  EXPECT_EQ(near.displacement, -8);
  const Address far = address({0x0f, 0xae, 0xbd, 0x00, 0x10, 0x00, 0x80});  // [rbp - 0x7ffff000]
  EXPECT_EQ(far.displacement, -0x7ffff000);
  const Address table = address({0x43, 0x0f, 0xae, 0x7c, 0xb5, 0x40});  // [r13 + r14 * 4 + 64]
  EXPECT_EQ(table.base, 13);
  EXPECT_EQ(table.index, 14);
  EXPECT_EQ(table.scale, 4u);
  EXPECT_EQ(table.displacement, 64);
  const Address absolute = address({0x0f, 0xae, 0x3c, 0x25, 0x00, 0x10, 0x00, 0x00});  // [0x1000]
  EXPECT_EQ(absolute.base, Address::kNone);
  EXPECT_EQ(absolute.index, Address::kNone);
  EXPECT_EQ(absolute.displacement, 0x1000);
  const Address relative = address({0x0f, 0xae, 0x3d, 0x10, 0x00, 0x00, 0x00});  // [rip + 16]
  EXPECT_EQ(relative.base, Address::kNextInstruction);
  EXPECT_EQ(relative.displacement, 16);
  EXPECT_EQ(address({0x65, 0x0f, 0xae, 0x38}).segment, Address::Segment::gs);
  EXPECT_TRUE(address({0x67, 0x0f, 0xae, 0x38}).truncated);
  EXPECT_EQ(address({0x42, 0x0f, 0xae, 0x3c, 0x20}).index, 12);  // [rax + r12]
}

TEST(Decode, StoresToTheStackAtMost) {
  for (const Bytes& bytes : {
           Bytes{0x41, 0x54},                                       // PUSH r12
           Bytes{0xe8, 0x00, 0x00, 0x00, 0x00},                     // CALL
           Bytes{0xff, 0x55, 0x08},                                 // CALL [rbp + 8]
           Bytes{0x48, 0x89, 0x44, 0x24, 0x08},                     // MOV [rsp + 8], rax
           Bytes{0xc7, 0x04, 0x24, 0x00, 0x00, 0x00, 0x00},         // MOV [rsp], 0
           Bytes{0x83, 0x44, 0x24, 0x08, 0x01},                     // ADD [rsp + 8], 1
           Bytes{0x0f, 0x11, 0x44, 0x24, 0x10},                     // MOVUPS [rsp + 16], xmm0
           Bytes{0x48, 0x8b, 0x07},                                 // MOV rax, [rdi]
           Bytes{0x48, 0x89, 0xc7},                                 // MOV rdi, rax
           Bytes{0x48, 0x01, 0xc7}, Bytes{0x48, 0x03, 0x07},        // ADD rdi, rax; ADD rax, [rdi]
           Bytes{0x48, 0x39, 0x07}, Bytes{0x48, 0x83, 0x3f, 0x01},  // CMP [rdi], rax; CMP [rdi], 1
           Bytes{0xf7, 0x07, 0x01, 0x00, 0x00, 0x00},               // TEST [rdi], 1
           Bytes{0x0f, 0xb6, 0x07}, Bytes{0x0f, 0x44, 0x07},        // MOVZX, CMOVE
           Bytes{0xf3, 0x0f, 0x1e, 0xfa},                           // ENDBR64
       }) {
    EXPECT_EQ(kind(bytes), Kind::stack_at_most) << testing::PrintToString(bytes);
  }
}

TEST(Decode, StoresElsewhere) {
  for (const Bytes& bytes : {
           Bytes{0x48, 0x89, 0x07},              // MOV [rdi], rax
           Bytes{0x49, 0x89, 0x04, 0x24},        // MOV [r12], rax
           Bytes{0x48, 0x89, 0x44, 0x25, 0x00},  // MOV [rbp], rax, with a SIB
           Bytes{0x65, 0x48, 0x89, 0x04, 0x24},  // MOV gs:[rsp], rax
           Bytes{0x88, 0x07},
           Bytes{0xc6, 0x07, 0x01},  // MOV, of a byte
           Bytes{0x48, 0x01, 0x07},
           Bytes{0x83, 0x07, 0x01},  // ADD [rdi]
           Bytes{0xf7, 0x1f},
           Bytes{0xff, 0x07},
           Bytes{0xd1, 0x27},  // NEG, INC, SHL [rdi]
           Bytes{0x0f, 0x11, 0x07},
           Bytes{0x66, 0x0f, 0x7f, 0x07},  // MOVUPS, MOVDQA
           Bytes{0x66, 0x0f, 0xd6, 0x07},
           Bytes{0x0f, 0x94, 0x07},  // MOVQ, SETE
           Bytes{0xf3, 0x48, 0xab},
           Bytes{0xa4},  // REP STOSQ, MOVSB
           Bytes{0x8f, 0x07},
           Bytes{0xdd, 0x1f},              // POP [rdi], FSTP [rdi]
           Bytes{0xc5, 0xfe, 0x7f, 0x07},  // VMOVDQU [rdi], ymm0
       }) {
    EXPECT_EQ(kind(bytes), Kind::other) << testing::PrintToString(bytes);
  }
  EXPECT_EQ(kind({0xf0, 0x48, 0x01, 0x07}), Kind::full_fence);        // LOCK ADD [rdi], rax
  EXPECT_EQ(kind({0xf0, 0x48, 0x01, 0x04, 0x24}), Kind::full_fence);  // LOCK ADD [rsp], rax
}

TEST(Decode, CutShort) {
  for (const Bytes& bytes : {Bytes{}, Bytes{0x66}, Bytes{0x0f}, Bytes{0x0f, 0xae},
                             Bytes{0xc4, 0xe2}, Bytes{0x0f, 0xae, 0x7d}, Bytes(16, 0x66)}) {
    EXPECT_FALSE(decode(bytes).has_value());
  }
}

TEST(Decode, AnyBytes) {
  std::mt19937 random(1);
  for (int i = 0; i < 200'000; ++i) {
    Bytes bytes(random() % 16);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    decode(bytes);
  }
}

}  // namespace
}  // namespace noncoherent
