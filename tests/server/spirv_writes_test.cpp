// Protects: every binding that a shader may write through is known, in whatever way it writes; what is not understood is unknown.
#include "server/memory/spirv_writes.h"

#include <gtest/gtest.h>

#include <iterator>
#include <set>
#include <vector>

#include "shaders/address_comp.h"
#include "shaders/increment_comp.h"
#include "shaders/written_comp.h"
#include "shaders/written_images_comp.h"

namespace vesper::server {
namespace {

using Bindings = std::set<std::pair<uint32_t, uint32_t>>;

TEST(SpirvWrites, StoresAndAtomicsAreFoundReadsAreNot) {
  const ShaderWrites writes = ReadShaderWrites(written_comp);
  EXPECT_FALSE(writes.unknown);
  EXPECT_FALSE(writes.addresses);
  EXPECT_EQ(writes.bindings, (Bindings{{0, 2}, {0, 3}, {1, 0}}));
  EXPECT_EQ(ReadShaderWrites(increment_comp).bindings, (Bindings{{0, 0}}));
}

TEST(SpirvWrites, ImagesAreWrittenByStoresAtomicsAndFunctions) {
  const ShaderWrites writes = ReadShaderWrites(written_images_comp);
  EXPECT_FALSE(writes.unknown);
  EXPECT_EQ(writes.bindings, (Bindings{{0, 0}, {2, 5}, {2, 6}}));
}

TEST(SpirvWrites, AddressesReachWhateverHasOne) { EXPECT_TRUE(ReadShaderWrites(address_comp).addresses); }

// A use that this library does not know counts as a write, wherever it stands.
TEST(SpirvWrites, UnknownUsesAreWrites) {
  std::vector<uint32_t> code(std::begin(written_comp), std::end(written_comp));
  size_t changed = 0;
  for (size_t at = 5; at < code.size(); at += code[at] >> 16) {
    if ((code[at] & 0xffff) != 61) continue;  // OpLoad
    code[at] = (code[at] & 0xffff0000) | 5999;
    ++changed;
  }
  ASSERT_NE(changed, 0u);
  EXPECT_EQ(ReadShaderWrites(code).bindings, (Bindings{{0, 0}, {0, 1}, {0, 2}, {0, 3}, {1, 0}}));
}

TEST(SpirvWrites, WhatIsNoSpirvIsUnknown) {
  EXPECT_TRUE(ReadShaderWrites({}).unknown);
  std::vector<uint32_t> code(std::begin(written_comp), std::end(written_comp));
  code[5] = 0;  // an instruction of no words
  EXPECT_TRUE(ReadShaderWrites(code).unknown);
  code.assign(std::begin(written_comp), std::end(written_comp));
  code.back() += 1u << 16;
  EXPECT_TRUE(ReadShaderWrites(code).unknown) << "longer than what is there";
  code.front() = __builtin_bswap32(code.front());
  EXPECT_TRUE(ReadShaderWrites(code).unknown);
}

}  // namespace
}  // namespace vesper::server
