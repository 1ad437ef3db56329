// What the GPU writes to mapped memory is seen after each wait, whatever wrote it: random programs over buffers that all stay
// mapped. Vesper's server compares only what a submit can have written; here that must never be too little.
#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <vector>

#include "shaders/address_comp.h"
#include "shaders/written_comp.h"
#include "tests/integration/gpu_test.h"

namespace vesper::test {
namespace {

constexpr uint32_t kWords = 1024;
constexpr VkDeviceSize kBytes = kWords * sizeof(uint32_t);
constexpr size_t kBuffers = 14;
constexpr size_t kBindings = 6;  // of written.comp: source, only_read, stored, counted, chosen[2]
constexpr VkBufferUsageFlags kUsage =
    VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;

using Words = std::vector<uint32_t>;

// The shader with its descriptor sets, whose buffers change all the time.
class Writer {
 public:
  explicit Writer(const Context& context) : context_(context) {
    const auto& features = context.features().v12;
    after_bind_ = features.descriptorBindingStorageBufferUpdateAfterBind == VK_TRUE;
    constexpr auto kType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    constexpr auto kStage = VK_SHADER_STAGE_COMPUTE_BIT;
    const std::array first = {Binding(0, kType, kStage), Binding(1, kType, kStage), Binding(2, kType, kStage),
                              Binding(3, kType, kStage)};
    const std::array second = {Binding(0, kType, kStage, 2)};
    layouts_[0] = MakeLayout(first);
    layouts_[1] = MakeLayout(second);
    const std::array<VkDescriptorSetLayout, 2> layouts = {layouts_[0], layouts_[1]};
    const VkPushConstantRange range = {kStage, 0, 2 * sizeof(uint32_t)};
    layout_ = MakePipelineLayout(context, layouts, {&range, 1});
    pipeline_ = MakeComputePipeline(context, layout_, written_comp);
    const VkDescriptorPoolSize size = {kType, 2 * kBindings};
    VkDescriptorPoolCreateFlags flags = 0;
    if (after_bind_) flags = VK_DESCRIPTOR_POOL_CREATE_UPDATE_AFTER_BIND_BIT;
    pool_ = MakeDescriptorPool(context, 4, {&size, 1}, flags);
    for (size_t i = 0; i < 4; ++i) sets_[i] = AllocateSet(context, pool_, layouts[i % 2]);
  }
  bool after_bind() const { return after_bind_; }

  // Puts buffers into pair `pair` of sets: by consecutive updates, or one by one, or copied from the other pair.
  void Update(size_t pair, const std::array<VkBuffer, kBindings>& buffers, uint32_t how) {
    std::array<VkDescriptorBufferInfo, kBindings> infos;
    for (size_t i = 0; i < kBindings; ++i) infos[i] = {buffers[i], 0, VK_WHOLE_SIZE};
    std::vector<VkWriteDescriptorSet> writes;
    const auto write = [&](size_t set, uint32_t binding, uint32_t element, size_t info, uint32_t count) {
      VkWriteDescriptorSet each = {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
      each.dstSet = sets_[pair * 2 + set];
      each.dstBinding = binding;
      each.dstArrayElement = element;
      each.descriptorCount = count;
      each.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
      each.pBufferInfo = &infos[info];
      writes.push_back(each);
    };
    if (how % 2 == 0) {
      write(0, 0, 0, 0, 4);
    } else {
      for (uint32_t i = 0; i < 4; ++i) write(0, i, 0, i, 1);
    }
    write(1, 0, 0, 4, 1);
    write(1, 0, 1, 5, 1);
    vkUpdateDescriptorSets(context_.device(), static_cast<uint32_t>(writes.size()), writes.data(), 0, nullptr);
    bound_[pair] = buffers;
  }
  void CopyFromOther(size_t pair) {
    std::array<VkCopyDescriptorSet, 2> copies = {};
    for (size_t set = 0; set < 2; ++set) {
      copies[set].sType = VK_STRUCTURE_TYPE_COPY_DESCRIPTOR_SET;
      copies[set].srcSet = sets_[(1 - pair) * 2 + set];
      copies[set].dstSet = sets_[pair * 2 + set];
      copies[set].descriptorCount = set == 0 ? 4 : 2;
    }
    vkUpdateDescriptorSets(context_.device(), 0, nullptr, 2, copies.data());
    bound_[pair] = bound_[1 - pair];
  }
  const std::array<VkBuffer, kBindings>& bound(size_t pair) const { return bound_[pair]; }

  void Dispatch(VkCommandBuffer commands, size_t pair, std::array<uint32_t, 2> push) const {
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline_);
    vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_, 0, 2, &sets_[pair * 2], 0, nullptr);
    vkCmdPushConstants(commands, layout_, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(push), push.data());
    vkCmdDispatch(commands, kWords / 64, 1, 1);
  }

 private:
  Owned<VkDescriptorSetLayout> MakeLayout(std::span<const VkDescriptorSetLayoutBinding> bindings) const {
    if (!after_bind_) return MakeSetLayout(context_, bindings);
    const std::vector<VkDescriptorBindingFlags> flags(bindings.size(), VK_DESCRIPTOR_BINDING_UPDATE_AFTER_BIND_BIT);
    VkDescriptorSetLayoutBindingFlagsCreateInfo next = {
        VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_BINDING_FLAGS_CREATE_INFO};
    next.bindingCount = static_cast<uint32_t>(flags.size());
    next.pBindingFlags = flags.data();
    VkDescriptorSetLayoutCreateInfo info = {VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, &next};
    info.flags = VK_DESCRIPTOR_SET_LAYOUT_CREATE_UPDATE_AFTER_BIND_POOL_BIT;
    info.bindingCount = static_cast<uint32_t>(bindings.size());
    info.pBindings = bindings.data();
    return Create<VkDescriptorSetLayout>(context_.device(), vkCreateDescriptorSetLayout, vkDestroyDescriptorSetLayout,
                                         info);
  }

  const Context& context_;
  bool after_bind_ = false;
  std::array<Owned<VkDescriptorSetLayout>, 2> layouts_;
  Owned<VkPipelineLayout> layout_;
  Owned<VkPipeline> pipeline_;
  Owned<VkDescriptorPool> pool_;
  std::array<VkDescriptorSet, 4> sets_ = {};
  std::array<std::array<VkBuffer, kBindings>, 2> bound_ = {};
};

class WritesTest : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    for (size_t i = 0; i < kBuffers; ++i) {
      buffers_.push_back(MakeBuffer(gpu(), kBytes, kUsage, Placement::kHost));
      models_.emplace_back(kWords, 0);
      std::ranges::fill(buffers_.back().As<uint32_t>(), 0u);
    }
  }
  void TearDown() override {
    buffers_.clear();
    GpuTest::TearDown();
  }
  uint32_t Below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }
  size_t IndexOf(VkBuffer buffer) const {
    const auto found = std::ranges::find_if(buffers_, [&](const Buffer& each) { return each.handle == buffer; });
    return static_cast<size_t>(found - buffers_.begin());
  }
  // Different ones: the shader reads none that it writes.
  std::array<VkBuffer, kBindings> Choose() {
    std::vector<size_t> order(kBuffers);
    for (size_t i = 0; i < kBuffers; ++i) order[i] = i;
    std::ranges::shuffle(order, random_);
    std::array<VkBuffer, kBindings> chosen;
    for (size_t i = 0; i < kBindings; ++i) chosen[i] = buffers_[order[i]].handle;
    return chosen;
  }

  void Transfer(VkCommandBuffer commands) {
    const size_t target = Below(kBuffers);
    const uint32_t first = Below(kWords);
    const uint32_t count = 1 + Below(std::min(kWords - first, 200u));
    Words& model = models_[target];
    const auto at = model.begin() + first;
    switch (Below(3)) {
      case 0: {
        const uint32_t value = static_cast<uint32_t>(random_());
        vkCmdFillBuffer(commands, buffers_[target].handle, first * 4, count * 4, value);
        std::fill_n(at, count, value);
        break;
      }
      case 1: {
        Words words(count);
        for (uint32_t& word : words) word = static_cast<uint32_t>(random_());
        vkCmdUpdateBuffer(commands, buffers_[target].handle, first * 4, count * 4, words.data());
        std::ranges::copy(words, at);
        break;
      }
      default: {
        const size_t source = (target + 1 + Below(kBuffers - 1)) % kBuffers;
        const VkBufferCopy region = {(kWords - count) * 4, first * 4, count * 4};
        vkCmdCopyBuffer(commands, buffers_[source].handle, buffers_[target].handle, 1, &region);
        std::copy_n(models_[source].end() - count, count, at);
      }
    }
  }

  void Model(const std::array<VkBuffer, kBindings>& buffers, std::array<uint32_t, 2> push) {
    std::array<Words*, kBindings> words;
    for (size_t i = 0; i < kBindings; ++i) words[i] = &models_[IndexOf(buffers[i])];
    for (uint32_t i = 0; i < kWords; ++i) {
      (*words[2])[i] = (*words[0])[i] + (*words[1])[i] + push[0];
      (*words[3])[i] += push[0];
      (*words[4 + push[1]])[i] = push[0] ^ i;
    }
  }

  void WriteByCpu() {
    for (uint32_t writes = Below(4); writes > 0; --writes) {
      const size_t target = Below(kBuffers);
      const uint32_t at = Below(kWords);
      models_[target][at] = buffers_[target].As<uint32_t>()[at] = static_cast<uint32_t>(random_());
    }
  }
  void ExpectModels(uint32_t round) {
    for (size_t i = 0; i < kBuffers; ++i) {
      ASSERT_TRUE(std::ranges::equal(buffers_[i].As<uint32_t>(), models_[i])) << "buffer " << i << ", round " << round;
    }
  }

  std::mt19937 random_{29};
  std::vector<Buffer> buffers_;
  std::vector<Words> models_;
};

TEST_F(WritesTest, RandomProgramsAreSeenWhole) {
  Writer writer(gpu());
  writer.Update(0, Choose(), 0);
  writer.Update(1, Choose(), 1);
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu());
  const VkCommandBuffer primary = AllocateCommands(gpu(), pool);
  const VkCommandBuffer secondary = AllocateCommands(gpu(), pool, VK_COMMAND_BUFFER_LEVEL_SECONDARY);
  const Owned<VkFence> fence = MakeFence(gpu());
  for (uint32_t round = 0; round < 300; ++round) {
    WriteByCpu();
    if (Below(3) == 0) writer.Update(Below(2), Choose(), Below(2));
    if (Below(9) == 0) writer.CopyFromOther(Below(2));
    // The secondary one runs last, and the model follows the order in which things run: it is recorded first, modelled last.
    const bool nested = Below(3) == 0;
    BeginCommands(primary, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT);
    for (uint32_t transfers = Below(3); transfers > 0; --transfers) {
      Transfer(primary);
      FullBarrier(primary);
    }
    const bool dispatches = Below(2) == 0;
    const size_t pair = Below(2);
    const std::array<uint32_t, 2> push = {static_cast<uint32_t>(random_()), Below(2)};
    if (dispatches) writer.Dispatch(primary, pair, push);
    FullBarrier(primary);
    if (nested) {
      VkCommandBufferInheritanceInfo inherited = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO};
      VkCommandBufferBeginInfo begin = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
      begin.pInheritanceInfo = &inherited;
      VK_CHECK(vkBeginCommandBuffer(secondary, &begin));
    }
    if (dispatches && writer.after_bind() && Below(2) == 0) writer.Update(pair, Choose(), Below(2));
    if (dispatches) Model(writer.bound(pair), push);
    if (nested) {
      Transfer(secondary);
      FullBarrier(secondary);
      VK_CHECK(vkEndCommandBuffer(secondary));
      vkCmdExecuteCommands(primary, 1, &secondary);
    }
    VK_CHECK(vkEndCommandBuffer(primary));
    Submit(gpu(), primary, fence);
    WaitFor(gpu(), fence);
    const VkFence signalled = fence;
    VK_CHECK(vkResetFences(device(), 1, &signalled));
    ExpectModels(round);
    if (HasFatalFailure()) return;
  }
}

// Where shaders have addresses, every buffer that has one may be written by any that uses them.
TEST_F(WritesTest, WritesByAddressAreSeen) {
  if (gpu().features().v12.bufferDeviceAddress != VK_TRUE) GTEST_SKIP() << "no buffer addresses";
  constexpr VkBufferUsageFlags kAddressed = kUsage | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
  struct Push {
    VkDeviceAddress source;
    VkDeviceAddress target;
    uint32_t count;
  };
  const Buffer source = MakeBuffer(gpu(), kBytes, kAddressed, Placement::kHost);
  const Buffer target = MakeBuffer(gpu(), kBytes, kAddressed, Placement::kHost);
  const auto address = [&](const Buffer& buffer) {
    VkBufferDeviceAddressInfo info = {VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO};
    info.buffer = buffer.handle;
    return vkGetBufferDeviceAddress(device(), &info);
  };
  const Push push = {address(source), address(target), kWords};
  const VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(push)};
  const Owned<VkPipelineLayout> layout = MakePipelineLayout(gpu(), {}, {&range, 1});
  const Owned<VkPipeline> pipeline = MakeComputePipeline(gpu(), layout, address_comp);
  for (uint32_t round = 1; round < 4; ++round) {
    std::ranges::fill(source.As<uint32_t>(), round);
    RunCommands(gpu(), [&](VkCommandBuffer commands) {
      vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
      vkCmdPushConstants(commands, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(push), &push);
      vkCmdDispatch(commands, kWords / 64, 1, 1);
      FullBarrier(commands);
    });
    EXPECT_TRUE(std::ranges::all_of(target.As<uint32_t>(), [&](uint32_t w) { return w == (round ^ 0x5a5a5a5au); }));
  }
}

}  // namespace
}  // namespace vesper::test
