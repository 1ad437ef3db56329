// Kernels: what the GPU computes is what the CPU computes, and what does not fit is refused.
#include <algorithm>
#include <cstring>

#include "compute/tests/compute_test.h"
#include "shaders/add_comp.h"
#include "shaders/image_comp.h"
#include "shaders/increment_comp.h"
#include "shaders/uniform_comp.h"

namespace vesper::compute {
namespace {

struct AddPush {
  uint32_t count;
  float scale;
};

class KernelTest : public ::testing::Test {
 protected:
  static Kernel Add(uint32_t local_size = 64) {
    return Kernel(TestDevice(), add_comp, {.name = "add", .constants = {Constant(0, local_size)}});
  }
};

TEST_F(KernelTest, Reflection) {
  const Kernel add = Add(32);
  const KernelReflection& reflection = add.reflection();
  ASSERT_EQ(reflection.bindings.size(), 3u);
  EXPECT_EQ(reflection.bindings[0].binding, 0u);
  EXPECT_EQ(reflection.bindings[1].binding, 1u);
  EXPECT_EQ(reflection.bindings[2].binding, 3u);
  EXPECT_FALSE(reflection.bindings[0].written);
  EXPECT_TRUE(reflection.bindings[2].written);
  EXPECT_EQ(reflection.bindings[0].min_bytes, 4u);
  EXPECT_EQ(reflection.push_constant_bytes, 8u);
  EXPECT_EQ(reflection.local_size[0], 32u);

  const Kernel increment(TestDevice(), increment_comp);
  EXPECT_EQ(increment.reflection().local_size[0], 8u);
  EXPECT_EQ(increment.reflection().local_size[1], 4u);
  EXPECT_EQ(increment.reflection().local_size[2], 2u);
  EXPECT_EQ(increment.reflection().bindings[0].min_bytes, 20u);
  uint32_t groups[3];
  increment.CountGroups(Grid::Threads(17, 4, 1), groups);
  EXPECT_EQ(std::vector<uint32_t>(groups, groups + 3), (std::vector<uint32_t>{3, 1, 1}));
  increment.CountGroups(Grid::Groups(17, 4, 1), groups);
  EXPECT_EQ(std::vector<uint32_t>(groups, groups + 3), (std::vector<uint32_t>{17, 4, 1}));

  const Kernel uniform(TestDevice(), uniform_comp);
  EXPECT_EQ(uniform.reflection().bindings[0].type, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER);
  EXPECT_EQ(uniform.reflection().bindings[0].min_bytes, 16u + 100 * 16);
}

TEST_F(KernelTest, MatchesCpuAtRandomSizes) {
  std::mt19937 engine(1);
  const auto random = [&] { return static_cast<uint32_t>(engine()); };
  for (const uint32_t local_size : {2u, 64u, 100u}) {
    const Kernel add = Add(local_size);
    for (int i = 0; i < 8; ++i) {
      const uint32_t count = 1 + random() % 100000;
      const std::vector<float> a = RandomFloats(count, random()), b = RandomFloats(count, random());
      Buffer da(TestDevice(), count * 4), db(TestDevice(), count * 4), dc(TestDevice(), count * 4);
      da.Upload(std::span(a));
      db.Upload(std::span(b));
      add.Launch({da, db, dc}, Grid::Threads(count), PushBytes(AddPush{count, 2}));
      std::vector<float> c(count);
      dc.Download(std::span(c));
      // Twice a value is exact, so that a fused operation rounds as two do.
      for (uint32_t j = 0; j < count; ++j) ASSERT_EQ(c[j], a[j] + 2 * b[j]) << j << " of " << count;
    }
  }
}

TEST_F(KernelTest, ThreeDimensionsAndConstants) {
  std::mt19937 engine(2);
  const auto random = [&] { return static_cast<uint32_t>(engine()); };
  for (int i = 0; i < 10; ++i) {
    const uint32_t size[4] = {1 + random() % 40, 1 + random() % 20, 1 + random() % 10, 0};
    const uint32_t step = random() % 1000;
    const bool twice = i % 2 == 1;
    const Kernel kernel(TestDevice(), increment_comp, {.constants = {Constant(1, step), Constant(2, twice)}});
    const size_t count = size_t{size[0]} * size[1] * size[2];
    std::vector<uint32_t> words = RandomWords(count, random());
    Buffer buffer(TestDevice(), 16 + count * 4);
    buffer.Upload(size, sizeof size);
    buffer.Upload(std::span(words), 16);
    kernel.Launch({buffer}, Grid::Threads(size[0], size[1], size[2]));
    std::vector<uint32_t> result(count);
    buffer.Download(std::span(result), 16);
    for (uint32_t& word : words) word += twice ? 2 * step : step;
    ASSERT_TRUE(words == result);
  }
}

TEST_F(KernelTest, UniformsAndRanges) {
  const Kernel kernel(TestDevice(), uniform_comp);
  Buffer factors(TestDevice(), 2048, {.usage = VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT});
  const float factor[4] = {1, 3, 5, 7};
  factors.Upload(factor, sizeof factor);
  const uint64_t align = TestDevice().properties().limits.minStorageBufferOffsetAlignment;
  Buffer data(TestDevice(), align + 64);
  const std::vector<float> ones((align + 64) / 4, 1.0f);
  data.Upload(std::span(ones));
  kernel.Launch({factors, BufferRange(data, align, 16)}, Grid::Groups(4));
  std::vector<float> result(ones.size());
  data.Download(std::span(result));
  for (size_t i = 0; i < result.size(); ++i) {
    const bool inside = i >= align / 4 && i < align / 4 + 4;
    EXPECT_EQ(result[i], inside ? 3.0f : 1.0f) << i;
  }
}

TEST_F(KernelTest, LaunchesThatDoNotFit) {
  const Kernel add = Add();
  const Kernel uniform(TestDevice(), uniform_comp);
  Buffer a(TestDevice(), 64), b(TestDevice(), 64), c(TestDevice(), 64), tiny(TestDevice(), 3);
  Buffer only_uniform(TestDevice(), 2048, {.usage = VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT});
  const AddPush push{16, 1};
  const Grid grid = Grid::Threads(16);
  ExpectError(ErrorCode::ExecutionFailed, [&] { add.Launch({a, b}, grid, PushBytes(push)); });
  ExpectError(ErrorCode::ExecutionFailed, [&] { add.Launch({a, b, c, c}, grid, PushBytes(push)); });
  ExpectError(ErrorCode::ExecutionFailed, [&] { add.Launch({a, b, c}, grid); });
  ExpectError(ErrorCode::ExecutionFailed, [&] { add.Launch({a, b, c}, grid, PushBytes(1.0f)); });
  ExpectError(ErrorCode::BufferTooSmall, [&] { add.Launch({a, tiny, c}, grid, PushBytes(push)); });
  ExpectError(ErrorCode::BufferTooSmall, [&] { uniform.Launch({only_uniform, tiny}, grid); });
  ExpectError(ErrorCode::BufferTooSmall, [&] { uniform.Launch({BufferRange(only_uniform, 0, 1600), a}, grid); });
  ExpectError(ErrorCode::BufferTooSmall, [&] { add.Launch({a, BufferRange(b, 0, 65), c}, grid, PushBytes(push)); });
  ExpectError(ErrorCode::BufferTooSmall, [&] {
    add.Launch({a, BufferRange(b, 1 << 20, 4), c}, grid, PushBytes(push));
  });
  ExpectError(ErrorCode::BufferError, [&] { add.Launch({a, BufferRange(b, 1, 4), c}, grid, PushBytes(push)); });
  ExpectError(ErrorCode::BufferError, [&] { add.Launch({a, only_uniform, c}, grid, PushBytes(push)); });
  ExpectError(ErrorCode::BufferError, [&] { uniform.Launch({a, c}, grid); });
  const Device other(TestOptions());
  const Buffer foreign(other, 64);
  ExpectError(ErrorCode::BufferError, [&] { add.Launch({a, foreign, c}, grid, PushBytes(push)); });
  ExpectError(ErrorCode::ExecutionFailed, [&] { Batch(other).Launch(add, {a, b, c}, grid); });
  const uint64_t most = TestDevice().properties().limits.maxComputeWorkGroupCount[1];
  if (most < UINT32_MAX) {
    const Grid high = Grid::Groups(1, static_cast<uint32_t>(most + 1));
    ExpectError(ErrorCode::ExecutionFailed, [&] { add.Launch({a, b, c}, high, PushBytes(push)); });
  }
  EXPECT_TRUE(add.Launch({a, b, c}, Grid::Threads(0), PushBytes(push)).IsDone());
  add.Launch({a, b, c}, grid, PushBytes(push)).Wait();  // all is well still
}

TEST_F(KernelTest, MissingAndBrokenShaders) {
  const std::vector<uint32_t> good(std::begin(add_comp), std::end(add_comp));
  const auto compile = [](std::vector<uint32_t> spirv, const KernelOptions& options = {}) {
    return [=] { Kernel(TestDevice(), spirv, options); };
  };
  ExpectError(ErrorCode::SpirvCompilationFailed, compile({}));
  ExpectError(ErrorCode::SpirvCompilationFailed, compile({0x07230203}));
  ExpectError(ErrorCode::SpirvCompilationFailed, compile({1, 2, 3, 4, 5, 6, 7}));
  std::vector<uint32_t> swapped = good;
  for (uint32_t& word : swapped) word = __builtin_bswap32(word);
  ExpectError(ErrorCode::SpirvCompilationFailed, compile(swapped));
  // Cut anywhere, it fails cleanly.
  for (size_t length = 5; length < good.size(); length += 3) {
    const std::vector<uint32_t> cut(good.begin(), good.begin() + static_cast<ptrdiff_t>(length));
    EXPECT_THROW(compile(cut)(), Error) << length;
  }
  // A store of a result that is defined nowhere: the structure is right, the meaning is not.
  std::vector<uint32_t> wrong = good;
  for (size_t i = 5; i < wrong.size(); i += wrong[i] >> 16) {
    if ((wrong[i] & 0xFFFF) == 62) wrong[i + 2] = good[3] - 1;  // OpStore
  }
  ExpectError(ErrorCode::SpirvCompilationFailed, compile(wrong));
  ExpectError(ErrorCode::PipelineCreationFailed, compile(good, {.entry_point = "start"}));
  ExpectError(ErrorCode::PipelineCreationFailed, compile(good, {.constants = {Constant(9, 1u)}}));
  ExpectError(ErrorCode::PipelineCreationFailed, compile(good, {.constants = {Constant(0, 1u << 30)}}));
  ExpectError(ErrorCode::PipelineCreationFailed, compile(good, {.constants = {Constant(0, 0u)}}));
  ExpectError(ErrorCode::PipelineCreationFailed, compile({std::begin(image_comp), std::end(image_comp)}));
  compile(good)();
  compile(good, {.validate = false})();
}

TEST_F(KernelTest, BatchesAreInOrder) {
  const Kernel increment(TestDevice(), increment_comp);
  const uint32_t size[4] = {100, 1, 1, 0};
  Buffer a(TestDevice(), 416), b(TestDevice(), 416);
  Batch batch(TestDevice());
  batch.Fill(a, 0).Fill(a, 100, 4).Fill(a, 1, 8, 4);
  for (int i = 0; i < 50; ++i) {
    batch.Launch(increment, {a}, Grid::Threads(100)).Copy(a, b, 416);
    batch.Launch(increment, {b}, Grid::Threads(100)).Copy(b, a, 416);
  }
  int recorded = 0;
  batch.Record([&](VkCommandBuffer commands) {
    ++recorded;
    vkCmdFillBuffer(commands, a.handle(), 412, 4, 77);
  });
  const Submission done = batch.Submit();
  EXPECT_EQ(recorded, 1);
  std::vector<uint32_t> words(104);
  a.Download(std::span(words));
  done.Wait();
  EXPECT_TRUE(done.IsDone());
  EXPECT_TRUE(std::equal(size, size + 3, words.begin()));
  for (size_t i = 4; i < 103; ++i) ASSERT_EQ(words[i], 100u) << i;
  EXPECT_EQ(words[103], 77u);
  ExpectError(ErrorCode::BufferTooSmall, [&] { Batch(TestDevice()).Copy(a, b, 417); });
  ExpectError(ErrorCode::BufferTooSmall, [&] { Batch(TestDevice()).Fill(a, 0, 4, 416); });
  ExpectError(ErrorCode::BufferError, [&] { Batch(TestDevice()).Fill(a, 0, 3); });
  ExpectError(ErrorCode::BufferError, [&] { Batch(TestDevice()).Copy(a, a, 8, 0, 4); });
  EXPECT_TRUE(Batch(TestDevice()).Submit().IsDone());
}

// A batch that throws while it is recorded leaves nothing behind.
TEST_F(KernelTest, ARecordingThatThrows) {
  Buffer buffer(TestDevice(), 4);
  Batch batch(TestDevice());
  batch.Fill(buffer, 1).Record([](VkCommandBuffer) { throw std::runtime_error("no"); });
  EXPECT_THROW(batch.Submit(), std::runtime_error);
  Batch(TestDevice()).Fill(buffer, 2).Submit();
  uint32_t word = 0;
  buffer.Download(&word, 4);
  EXPECT_EQ(word, 2u);
}

}  // namespace
}  // namespace vesper::compute
