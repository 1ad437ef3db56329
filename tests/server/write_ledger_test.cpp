// Protects: what a submit may write is never too little. Each command widens it by what it says, descriptor sets count with what
// they hold when the submit is made, and whatever is not followed may write everything.
#include "server/memory/write_ledger.h"

#include <gtest/gtest.h>

#include <array>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "generated/vk/commands.h"
#include "generated/wire/all.h"
#include "shaders/address_comp.h"
#include "shaders/written_comp.h"

namespace vesper::server {
namespace {

template <typename Handle>
Handle Make(uintptr_t number) {
  return reinterpret_cast<Handle>(number);
}
const auto kDevice = Make<VkDevice>(1);
const auto kCommands = Make<VkCommandBuffer>(2);
const auto kSecondary = Make<VkCommandBuffer>(3);
const auto kMemory = Make<VkDeviceMemory>(4);
const auto kPool = Make<VkDescriptorPool>(5);

using Ranges = std::vector<std::pair<uint64_t, uint64_t>>;

class WriteLedgerTest : public testing::Test {
 protected:
  WriteLedgerTest() {
    for (const VkCommandBuffer buffer : {kCommands, kSecondary}) Begin(buffer);
  }
  template <typename Args>
  void Note(Command command, const Args& args) {
    ledger_.Note(kDevice, static_cast<uint16_t>(command), &args);
  }
  void Begin(VkCommandBuffer buffer) {
    wire::BeginCommandBufferArgs args{};
    args.commandBuffer = buffer;
    Note(Command::kBeginCommandBuffer, args);
  }
  // A buffer of 1000 bytes, bound at 1000 times its number.
  VkBuffer MakeBuffer(uintptr_t number, bool bound = true, VkBufferUsageFlags usage = 0) {
    VkBufferCreateInfo info{};
    info.size = 1000;
    info.usage = usage;
    VkBuffer buffer = Make<VkBuffer>(100 + number);
    wire::CreateBufferArgs made{};
    made.pCreateInfo = &info;
    made.pBuffer = &buffer;
    Note(Command::kCreateBuffer, made);
    if (!bound) return buffer;
    wire::BindBufferMemoryArgs binds{};
    binds.buffer = buffer;
    binds.memory = kMemory;
    binds.memoryOffset = number * 1000;
    Note(Command::kBindBufferMemory, binds);
    return buffer;
  }
  void Fill(VkCommandBuffer commands, VkBuffer buffer, uint64_t offset, uint64_t size) {
    wire::CmdFillBufferArgs args{};
    args.commandBuffer = commands;
    args.dstBuffer = buffer;
    args.dstOffset = offset;
    args.size = size;
    Note(Command::kCmdFillBuffer, args);
  }
  VkPipeline MakePipeline(uintptr_t number, std::span<const uint32_t> code) {
    VkShaderModule module = Make<VkShaderModule>(200 + number);
    VkShaderModuleCreateInfo shader{};
    shader.pCode = code.data();
    shader.codeSize = code.size_bytes();
    wire::CreateShaderModuleArgs made{};
    made.pCreateInfo = &shader;
    made.pShaderModule = &module;
    Note(Command::kCreateShaderModule, made);
    VkComputePipelineCreateInfo info{};
    info.stage.module = module;
    VkPipeline pipeline = Make<VkPipeline>(300 + number);
    wire::CreateComputePipelinesArgs args{};
    args.createInfoCount = 1;
    args.pCreateInfos = &info;
    args.pPipelines = &pipeline;
    Note(Command::kCreateComputePipelines, args);
    return pipeline;
  }
  VkDescriptorSet MakeSet(uintptr_t number, std::span<const VkDescriptorSetLayoutBinding> bindings) {
    VkDescriptorSetLayoutCreateInfo info{};
    info.bindingCount = static_cast<uint32_t>(bindings.size());
    info.pBindings = bindings.data();
    VkDescriptorSetLayout layout = Make<VkDescriptorSetLayout>(400 + number);
    wire::CreateDescriptorSetLayoutArgs made{};
    made.pCreateInfo = &info;
    made.pSetLayout = &layout;
    Note(Command::kCreateDescriptorSetLayout, made);
    VkDescriptorSetAllocateInfo allocates{};
    allocates.descriptorPool = kPool;
    allocates.descriptorSetCount = 1;
    allocates.pSetLayouts = &layout;
    VkDescriptorSet set = Make<VkDescriptorSet>(500 + number);
    wire::AllocateDescriptorSetsArgs args{};
    args.pAllocateInfo = &allocates;
    args.pDescriptorSets = &set;
    Note(Command::kAllocateDescriptorSets, args);
    return set;
  }
  void Update(VkDescriptorSet set, uint32_t binding, std::span<const VkBuffer> buffers,
              VkDescriptorType type = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER) {
    std::vector<VkDescriptorBufferInfo> infos;
    for (const VkBuffer buffer : buffers) infos.push_back({buffer, 0, VK_WHOLE_SIZE});
    VkWriteDescriptorSet write{};
    write.dstSet = set;
    write.dstBinding = binding;
    write.descriptorCount = static_cast<uint32_t>(infos.size());
    write.descriptorType = type;
    write.pBufferInfo = infos.data();
    wire::UpdateDescriptorSetsArgs args{};
    args.descriptorWriteCount = 1;
    args.pDescriptorWrites = &write;
    Note(Command::kUpdateDescriptorSets, args);
  }
  void Bind(VkPipeline pipeline, std::span<const VkDescriptorSet> sets) {
    wire::CmdBindPipelineArgs binds{};
    binds.commandBuffer = kCommands;
    binds.pipelineBindPoint = VK_PIPELINE_BIND_POINT_COMPUTE;
    binds.pipeline = pipeline;
    Note(Command::kCmdBindPipeline, binds);
    wire::CmdBindDescriptorSetsArgs args{};
    args.commandBuffer = kCommands;
    args.pipelineBindPoint = VK_PIPELINE_BIND_POINT_COMPUTE;
    args.descriptorSetCount = static_cast<uint32_t>(sets.size());
    args.pDescriptorSets = sets.data();
    Note(Command::kCmdBindDescriptorSets, args);
  }

  // What a submit of kCommands may write; kEverything for all.
  static inline const Ranges kEverything = {{0, UINT64_MAX}};
  Ranges Submitted() {
    const auto lives = ledger_.Submitted(kDevice, std::span(&kCommands, 1));
    return Live();
  }
  Ranges Live() {
    const WriteSet set = ledger_.Live(kDevice);
    if (set.everything) return kEverything;
    Ranges ranges;
    for (const auto& [memory, parts] : set.ranges) {
      EXPECT_EQ(memory, kMemory);
      parts.ForEachIn(0, UINT64_MAX, [&](uint64_t begin, uint64_t end) { ranges.emplace_back(begin, end); });
    }
    return ranges;
  }

  WriteLedger ledger_;
};

TEST_F(WriteLedgerTest, WhatCommandsSayAndNoMore) {
  const VkBuffer first = MakeBuffer(1);
  const VkBuffer second = MakeBuffer(2);
  EXPECT_EQ(Submitted(), Ranges{});
  Fill(kCommands, first, 100, 50);
  Fill(kCommands, second, 10, VK_WHOLE_SIZE);
  EXPECT_EQ(Submitted(), (Ranges{{1100, 1150}, {2010, 3000}}));
  EXPECT_EQ(Live(), Ranges{}) << "it counts no longer than somebody holds it";
  Begin(kCommands);
  EXPECT_EQ(Submitted(), Ranges{});
}

TEST_F(WriteLedgerTest, SeveralSubmitsCountTogether) {
  const VkBuffer buffer = MakeBuffer(1);
  Fill(kCommands, buffer, 0, 4);
  auto first = ledger_.Submitted(kDevice, std::span(&kCommands, 1));
  Begin(kCommands);
  Fill(kCommands, buffer, 8, 4);
  const auto second = ledger_.Submitted(kDevice, std::span(&kCommands, 1));
  EXPECT_EQ(Live(), (Ranges{{1000, 1004}, {1008, 1012}}));
  first.reset();
  EXPECT_EQ(Live(), (Ranges{{1008, 1012}}));
  const auto unknown = ledger_.Unknown(kDevice);
  EXPECT_EQ(Live(), kEverything);
}

TEST_F(WriteLedgerTest, WhatIsNotFollowedMayWriteEverything) {
  Fill(kCommands, MakeBuffer(1, false), 0, 4);
  EXPECT_EQ(Submitted(), kEverything) << "a buffer that is not bound, or sparsely";
  Begin(kCommands);
  wire::CmdBuildAccelerationStructuresKHRArgs builds{};
  builds.commandBuffer = kCommands;
  Note(Command::kCmdBuildAccelerationStructuresKHR, builds);
  EXPECT_EQ(Submitted(), kEverything) << "a command without a row";
  const auto unseen = Make<VkCommandBuffer>(77);
  const auto lives = ledger_.Submitted(kDevice, std::span(&unseen, 1));
  EXPECT_EQ(Live(), kEverything) << "a command buffer that nobody saw begin";
}

TEST_F(WriteLedgerTest, SecondaryOnesCountAsTheyAre) {
  const VkBuffer buffer = MakeBuffer(1);
  wire::CmdExecuteCommandsArgs args{};
  args.commandBuffer = kCommands;
  args.commandBufferCount = 1;
  args.pCommandBuffers = &kSecondary;
  Note(Command::kCmdExecuteCommands, args);
  EXPECT_EQ(Submitted(), Ranges{});
  Fill(kSecondary, buffer, 0, 1);
  EXPECT_EQ(Submitted(), (Ranges{{1000, 1001}}));
}

TEST_F(WriteLedgerTest, ShadersWriteWhatTheirBindingsHoldAtTheSubmit) {
  constexpr auto kType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  std::array<VkDescriptorSetLayoutBinding, 4> bindings{};
  for (uint32_t i = 0; i < 4; ++i) bindings[i] = {3 - i, kType, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
  const VkDescriptorSetLayoutBinding pair{0, kType, 2, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
  const std::array sets = {MakeSet(0, bindings), MakeSet(1, std::span(&pair, 1))};
  std::vector<VkBuffer> buffers;
  for (uintptr_t i = 0; i < 6; ++i) buffers.push_back(MakeBuffer(2 * i));
  Bind(MakePipeline(0, written_comp), sets);
  EXPECT_EQ(Submitted(), Ranges{});
  Update(sets[0], 0, std::span(buffers).first(4));  // goes on from binding to binding
  EXPECT_EQ(Submitted(), (Ranges{{4000, 5000}, {6000, 7000}})) << "stored and counted, not what is only read";
  Update(sets[1], 0, std::span(buffers).last(2));
  EXPECT_EQ(Submitted(), (Ranges{{4000, 5000}, {6000, 7000}, {8000, 9000}, {10'000, 11'000}}));
  Update(sets[0], 2, std::span(buffers).first(1));
  Update(sets[0], 3, std::span(buffers).first(1));
  EXPECT_EQ(Submitted(), (Ranges{{0, 1000}, {8000, 9000}, {10'000, 11'000}})) << "replaced";
  VkCopyDescriptorSet copy{};
  copy.srcSet = sets[1];
  copy.srcArrayElement = 1;
  copy.dstSet = sets[1];
  copy.descriptorCount = 1;
  wire::UpdateDescriptorSetsArgs args{};
  args.descriptorCopyCount = 1;
  args.pDescriptorCopies = &copy;
  Note(Command::kUpdateDescriptorSets, args);
  EXPECT_EQ(Submitted(), (Ranges{{0, 1000}, {10'000, 11'000}}));
  wire::ResetDescriptorPoolArgs reset{};
  reset.descriptorPool = kPool;
  Note(Command::kResetDescriptorPool, reset);
  EXPECT_EQ(Submitted(), kEverything) << "sets that are no more";
}

TEST_F(WriteLedgerTest, ShadersThatAreNotUnderstoodWriteEveryBinding) {
  constexpr auto kType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  const std::array<VkDescriptorSetLayoutBinding, 2> bindings = {
      {{0, kType, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr},
       {1, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr}}};
  const std::array sets = {MakeSet(0, bindings)};
  const std::array buffers = {MakeBuffer(1), MakeBuffer(3)};
  Update(sets[0], 0, std::span(buffers).first(1));
  Update(sets[0], 1, std::span(buffers).last(1), VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER);
  Bind(Make<VkPipeline>(999), sets);
  EXPECT_EQ(Submitted(), (Ranges{{1000, 2000}})) << "nobody writes uniform buffers";
}

TEST_F(WriteLedgerTest, AddressesReachEveryBufferThatHasOne) {
  MakeBuffer(1, true, VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT);
  MakeBuffer(2);
  Bind(MakePipeline(0, address_comp), {});
  EXPECT_EQ(Submitted(), (Ranges{{1000, 2000}}));
}

// What breaks Vulkan's rules reaches the driver, which may do anything with it; it is noted without being followed.
TEST_F(WriteLedgerTest, ArraysThatAreMissingAreNotRead) {
  for (const VkDescriptorType type : {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC,
                                      VK_DESCRIPTOR_TYPE_STORAGE_IMAGE, VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER}) {
    Begin(kCommands);
    VkWriteDescriptorSet write{};
    write.descriptorCount = 3;
    write.descriptorType = type;
    wire::CmdPushDescriptorSetKHRArgs args{};
    args.commandBuffer = kCommands;
    args.descriptorWriteCount = 1;
    args.pDescriptorWrites = &write;
    Note(Command::kCmdPushDescriptorSetKHR, args);
    EXPECT_EQ(Submitted(), kEverything) << type;
  }
  VkFramebufferCreateInfo views{};
  views.attachmentCount = 3;
  VkFramebuffer framebuffer = Make<VkFramebuffer>(600);
  wire::CreateFramebufferArgs made{};
  made.pCreateInfo = &views;
  made.pFramebuffer = &framebuffer;
  Note(Command::kCreateFramebuffer, made);
  VkGraphicsPipelineCreateInfo info{};
  info.stageCount = 3;
  VkPipeline pipeline = Make<VkPipeline>(300);
  wire::CreateGraphicsPipelinesArgs args{};
  args.createInfoCount = 1;
  args.pCreateInfos = &info;
  args.pPipelines = &pipeline;
  Note(Command::kCreateGraphicsPipelines, args);
  wire::FreeCommandBuffersArgs buffers{};
  buffers.commandBufferCount = 3;
  Note(Command::kFreeCommandBuffers, buffers);
  wire::FreeDescriptorSetsArgs sets{};
  sets.descriptorPool = kPool;
  sets.descriptorSetCount = UINT32_MAX;
  Note(Command::kFreeDescriptorSets, sets);
}

// A count alone costs nothing, however large.
TEST_F(WriteLedgerTest, MissingDescriptorsAreNotCountedOneByOne) {
  const VkDescriptorSetLayoutBinding binding{.binding = 0,
                                             .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                             .descriptorCount = UINT32_MAX,
                                             .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT,
                                             .pImmutableSamplers = nullptr};
  const VkDescriptorSet set = MakeSet(0, {&binding, 1});
  VkWriteDescriptorSet write{};
  write.dstSet = set;
  write.descriptorCount = UINT32_MAX;
  write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  wire::UpdateDescriptorSetsArgs args{};
  args.descriptorWriteCount = 1;
  args.pDescriptorWrites = &write;
  Note(Command::kUpdateDescriptorSets, args);
  Begin(kCommands);
  Bind(MakePipeline(0, written_comp), {&set, 1});
  EXPECT_EQ(Submitted(), kEverything);
}

}  // namespace
}  // namespace vesper::server
