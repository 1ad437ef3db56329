// Bytes of the wire written out by hand. The generated round trips share the generator's reading of the registry: a mistake
// that both directions make alike, or a format that changes unnoticed between versions, shows only here.
#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "generated/wire/all.h"
#include "generated/wire/codecs.h"
#include "runtime/wire/record.h"

// A row of bytes for each member.
// clang-format off
namespace vesper::wire {
namespace {

// Little-endian bytes, one call a field.
class Bytes {
 public:
  Bytes& U8(std::initializer_list<int> values) {
    for (const int v : values) bytes_.push_back(static_cast<uint8_t>(v));
    return *this;
  }
  Bytes& U16(uint16_t v) { return Number(v, 2); }
  Bytes& U32(uint32_t v) { return Number(v, 4); }
  Bytes& U64(uint64_t v) { return Number(v, 8); }
  Bytes& Text(std::string_view text) {
    bytes_.insert(bytes_.end(), text.begin(), text.end());
    return *this;
  }
  Bytes& Zeros(size_t count) {
    bytes_.insert(bytes_.end(), count, 0);
    return *this;
  }
  const std::vector<uint8_t>& get() const { return bytes_; }

 private:
  Bytes& Number(uint64_t v, int size) {
    for (int i = 0; i < size; ++i) bytes_.push_back(static_cast<uint8_t>(v >> 8 * i));
    return *this;
  }
  std::vector<uint8_t> bytes_;
};

template <typename H>
H HandleOf(uint64_t id) {
  H handle;
  static_assert(sizeof(handle) == sizeof(id));
  std::memcpy(&handle, &id, sizeof(handle));
  return handle;
}

template <typename F>
std::vector<uint8_t> Written(F write) {
  ByteBuffer buffer;
  Encoder e(&buffer);
  write(e);
  return {buffer.data(), buffer.data() + buffer.size()};
}
template <typename T>
std::vector<uint8_t> Encoded(const T& v) {
  return Written([&](Encoder& e) { Encode(e, v); });
}

// `v` gives these bytes, and these bytes give a struct that gives them again.
template <typename T>
void ExpectPinned(const T& v, const Bytes& bytes) {
  EXPECT_EQ(Encoded(v), bytes.get());
  Arena arena(1 << 20);
  Decoder d(bytes.get(), &arena);
  T decoded{};
  Decode(d, decoded);
  ASSERT_TRUE(d.ok()) << d.error();
  EXPECT_EQ(d.remaining(), 0u);
  EXPECT_EQ(Encoded(decoded), bytes.get());
}

TEST(PinnedBytes, BufferCreateInfoWithAndWithoutQueueFamilies) {
  const uint32_t families[] = {7, 9};
  VkBufferCreateInfo v{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, nullptr, 1, 0x1122334455667788, 0x21,
                       VK_SHARING_MODE_CONCURRENT, 2, families};
  ExpectPinned(v, Bytes().U32(2).U32(1).U64(0x1122334455667788).U32(0x21).U32(1).U32(2).U32(7).U32(9));
  v.sharingMode = VK_SHARING_MODE_EXCLUSIVE;  // the pointer may dangle now
  v.pQueueFamilyIndices = reinterpret_cast<const uint32_t*>(uintptr_t{8});
  ExpectPinned(v, Bytes().U32(0).U32(1).U64(0x1122334455667788).U32(0x21).U32(0).U32(2));
}

TEST(PinnedBytes, BufferImageCopyIsItsOwnMemory) {
  const VkBufferImageCopy v{0x0102030405060708, 2, 3, {4, 5, 6, 7}, {-1, 9, 10}, {11, 12, 13}};
  CmdCopyBufferToImageArgs args{};
  DispatchableHeader command_buffer{0, 0xc0};
  args.commandBuffer = reinterpret_cast<VkCommandBuffer>(&command_buffer);
  args.srcBuffer = HandleOf<VkBuffer>(0xb0);
  args.dstImage = HandleOf<VkImage>(0x1a);
  args.dstImageLayout = VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL;
  args.regionCount = 1;
  args.pRegions = &v;
  const auto written = Written([&](Encoder& e) { EncodeRequest(e, args); });
  EXPECT_EQ(written, Bytes().U32(1).U64(0xc0).U64(0xb0).U64(0x1a).U32(7).U32(1).U64(0x0102030405060708).U32(2).U32(3)
                         .U32(4).U32(5).U32(6).U32(7).U32(0xffffffff).U32(9).U32(10).U32(11).U32(12).U32(13).get());
}

TEST(PinnedBytes, SubmitInfoWithChain) {
  const uint64_t values[] = {5, 6};
  const VkTimelineSemaphoreSubmitInfo timeline{VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO, nullptr, 0, nullptr, 2,
                                               values};
  const VkSemaphore wait = HandleOf<VkSemaphore>(0x51);
  const VkSemaphore signals[] = {HandleOf<VkSemaphore>(0x52), HandleOf<VkSemaphore>(0x53)};
  const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_TRANSFER_BIT;
  const VkSubmitInfo v{VK_STRUCTURE_TYPE_SUBMIT_INFO, &timeline, 1, &wait, &stage, 0, nullptr, 2, signals};
  // Chain: count, then sType, length, body (presence: of three pointers the last; two counts; the values).
  ExpectPinned(v, Bytes().U32(0b10111).U32(1).U32(0).U32(2).U32(1).U32(1000207003).U32(28).U32(0b100).U32(0).U32(2)
                      .U64(5).U64(6).U64(0x51).U32(0x1000).U64(0x52).U64(0x53));
}

TEST(PinnedBytes, WriteDescriptorSetSendsTheArrayThatItsTypeSelects) {
  const VkDescriptorImageInfo image{HandleOf<VkSampler>(0x5a), HandleOf<VkImageView>(0x1b), VK_IMAGE_LAYOUT_GENERAL};
  const VkDescriptorBufferInfo buffer{HandleOf<VkBuffer>(0xb0), 16, VK_WHOLE_SIZE};
  VkWriteDescriptorSet v{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET, nullptr, HandleOf<VkDescriptorSet>(0xd5), 1, 2, 1,
                         VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, &image, &buffer, nullptr};
  ExpectPinned(v, Bytes().U32(0b0010).U64(0xd5).U32(1).U32(2).U32(1).U32(1).U64(0x5a).U64(0x1b).U32(1));
  v.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  ExpectPinned(v, Bytes().U32(0b0100).U64(0xd5).U32(1).U32(2).U32(1).U32(7).U64(0xb0).U64(16).U64(UINT64_MAX));
}

TEST(PinnedBytes, FeaturesTravelAsAShapeAndComeBackAsContents) {
  VkPhysicalDeviceTimelineSemaphoreFeatures timeline{};
  timeline.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES;
  timeline.timelineSemaphore = 1;
  VkPhysicalDeviceFeatures2 v{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, &timeline, {}};
  EXPECT_EQ(Written([&](Encoder& e) { EncodeShape(e, v); }),
            Bytes().U32(1).U32(1).U32(1000207000).U32(4).U32(0).get());
  v.features.robustBufferAccess = 1;
  // 55 features, then the chain; the chained struct's own chain is empty.
  EXPECT_EQ(Written([&](Encoder& e) { EncodeResult(e, v); }),
            Bytes().U32(1).Zeros(216).U32(1).U32(1000207000).U32(8).U32(1).U32(0).get());
}

// A member that may have a chain of its own, in the chain of another struct.
TEST(PinnedBytes, ChainMembersDoNotSendTheirFollowersAgain) {
  VkPhysicalDeviceTimelineSemaphoreFeatures timeline{};
  timeline.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES;
  timeline.timelineSemaphore = 1;
  const VkPhysicalDeviceFeatures2 features{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, &timeline, {}};
  VkDeviceCreateInfo v{};
  v.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
  v.pNext = &features;
  ExpectPinned(v, Bytes().U32(1).U32(0).U32(0).U32(0).U32(0).U32(2).U32(1000059000).U32(224).U32(0).Zeros(220)
                      .U32(1000207000).U32(8).U32(0).U32(1));
}

TEST(PinnedBytes, ClearValueIsSixteenBytes) {
  VkClearValue clear{};
  clear.color.uint32[0] = 0x01020304;
  clear.color.uint32[3] = 0xff;
  CmdClearColorImageArgs args{};
  args.pColor = &clear.color;
  EXPECT_EQ(Written([&](Encoder& e) { EncodeRequest(e, args); }),
            Bytes().U32(1).U64(0).U64(0).U32(0).U32(0).U32(0x01020304).U32(0).U32(0).U32(0xff).get());
}

TEST(PinnedBytes, ImageMemoryBarrier) {
  const VkImageMemoryBarrier v{VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER, nullptr, 1, 2, VK_IMAGE_LAYOUT_UNDEFINED,
                               VK_IMAGE_LAYOUT_GENERAL, VK_QUEUE_FAMILY_IGNORED, 3, HandleOf<VkImage>(0x1a),
                               {VK_IMAGE_ASPECT_COLOR_BIT, 4, 5, 6, 7}};
  ExpectPinned(v, Bytes().U32(0).U32(1).U32(2).U32(0).U32(1).U32(0xffffffff).U32(3).U64(0x1a).U32(1).U32(4).U32(5).U32(6)
                      .U32(7));
}

// The server's device has no swapchains: in structs of fixed size, alone or in arrays, and in those with a chain.
TEST(PinnedBytes, PresentableLayoutTravelsAsGeneral) {
  VkAttachmentReference references[] = {{7, VK_IMAGE_LAYOUT_PRESENT_SRC_KHR}, {8, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL}};
  uint8_t bytes[8];
  ByteBuffer unused;
  Encoder encoder(&unused);
  Put(encoder, bytes, references[0]);
  EXPECT_EQ(std::vector<uint8_t>(bytes, bytes + 8), Bytes().U32(7).U32(VK_IMAGE_LAYOUT_GENERAL).get());
  Put(encoder, bytes, references[1]);
  EXPECT_EQ(std::vector<uint8_t>(bytes, bytes + 8), Bytes().U32(8).U32(VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL).get());

  VkImageMemoryBarrier barrier{};
  barrier.sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER;
  barrier.oldLayout = VK_IMAGE_LAYOUT_PRESENT_SRC_KHR;
  barrier.newLayout = VK_IMAGE_LAYOUT_GENERAL;
  VkImageMemoryBarrier general = barrier;
  general.oldLayout = VK_IMAGE_LAYOUT_GENERAL;
  EXPECT_EQ(Written([&](Encoder& e) { Encode(e, barrier); }), Written([&](Encoder& e) { Encode(e, general); }));
}

TEST(PinnedBytes, LayoutBindingKeepsSamplersOnlyWhereTheyAreRead) {
  const VkSampler samplers[] = {HandleOf<VkSampler>(0x5a), HandleOf<VkSampler>(0x5b)};
  VkDescriptorSetLayoutBinding v{3, VK_DESCRIPTOR_TYPE_SAMPLER, 2, VK_SHADER_STAGE_ALL, samplers};
  ExpectPinned(v, Bytes().U32(1).U32(3).U32(0).U32(2).U32(0x7fffffff).U64(0x5a).U64(0x5b));
  v.descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER;
  ExpectPinned(v, Bytes().U32(0).U32(3).U32(6).U32(2).U32(0x7fffffff));
}

TEST(PinnedBytes, InstanceCreateInfoWithStrings) {
  const VkApplicationInfo app{VK_STRUCTURE_TYPE_APPLICATION_INFO, nullptr, "app", 1, nullptr, 2, VK_API_VERSION_1_3};
  const char* extensions[] = {"VK_a", ""};
  const VkInstanceCreateInfo v{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, nullptr, 0, &app, 0, nullptr, 2, extensions};
  ExpectPinned(v, Bytes().U32(0b1010).U32(0).U32(0).U32(2)                          // flags, counts
                      .U32(0b010).U32(1).U32(2).U32(0x403000).U32(3).Text("app")    // pApplicationInfo
                      .U32(4).Text("VK_a").U32(0));                                 // ppEnabledExtensionNames
}

TEST(PinnedBytes, SampleMaskHasAWordPerThirtyTwoSamples) {
  const VkSampleMask mask[] = {0xaaaa5555, 0x0f0f0f0f};
  VkPipelineMultisampleStateCreateInfo v{};
  v.sType = VK_STRUCTURE_TYPE_PIPELINE_MULTISAMPLE_STATE_CREATE_INFO;
  v.rasterizationSamples = VK_SAMPLE_COUNT_64_BIT;
  v.minSampleShading = 1.0f;
  v.pSampleMask = mask;
  ExpectPinned(v, Bytes().U32(2).U32(0).U32(64).U32(0).U32(0x3f800000).U32(0).U32(0).U32(0xaaaa5555).U32(0x0f0f0f0f));
  v.rasterizationSamples = VK_SAMPLE_COUNT_4_BIT;
  ExpectPinned(v, Bytes().U32(2).U32(0).U32(4).U32(0).U32(0x3f800000).U32(0).U32(0).U32(0xaaaa5555));
}

TEST(PinnedBytes, UnionTravelsAsItsSelectedMember) {
  VkAccelerationStructureGeometryKHR v{};
  v.sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_GEOMETRY_KHR;
  v.geometryType = VK_GEOMETRY_TYPE_INSTANCES_KHR;
  v.geometry.instances = {VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_GEOMETRY_INSTANCES_DATA_KHR, nullptr, 1, {0xddaa}};
  v.flags = 3;
  ExpectPinned(v, Bytes().U32(0).U32(2).U32(3).U32(0).U32(1).U64(0xddaa));
}

TEST(PinnedBytes, StridedArrayTravelsDense) {
  struct Wide {
    VkMultiDrawInfoEXT draw;
    uint32_t other;
  } draws[] = {{{1, 2}, 99}, {{3, 4}, 99}};
  CmdDrawMultiEXTArgs args{};
  args.drawCount = 2;
  args.pVertexInfo = &draws[0].draw;
  args.instanceCount = 5;
  args.firstInstance = 6;
  args.stride = sizeof(Wide);
  EXPECT_EQ(Written([&](Encoder& e) { EncodeRequest(e, args); }),
            Bytes().U32(1).U64(0).U32(2).U32(5).U32(6).U32(12).U32(1).U32(2).U32(3).U32(4).get());
}

TEST(PinnedBytes, PipelineFeedbackIsEchoed) {
  VkPipelineCreationFeedback whole{1, 0x1122334455667788};
  VkPipelineCreationFeedback stages[] = {{3, 4}};
  const VkPipelineCreationFeedbackCreateInfo v{VK_STRUCTURE_TYPE_PIPELINE_CREATION_FEEDBACK_CREATE_INFO, nullptr, &whole, 1,
                                               stages};
  ExpectPinned(v, Bytes().U32(0b110).U32(1));  // there: that there is room
  EXPECT_EQ(Written([&](Encoder& e) { EncodeEcho(e, v); }),
            Bytes().U32(1).U64(0x1122334455667788).U32(3).U64(4).get());
}

TEST(PinnedBytes, FeedbackInAChainComesBackThroughTheChain) {
  VkPipelineCreationFeedback whole{1, 2};
  const VkPipelineCreationFeedbackCreateInfo feedback{VK_STRUCTURE_TYPE_PIPELINE_CREATION_FEEDBACK_CREATE_INFO, nullptr,
                                                      &whole, 0, nullptr};
  VkComputePipelineCreateInfo v{};
  v.pNext = &feedback;
  EXPECT_EQ(Written([&](Encoder& e) { EncodeEcho(e, v); }), Bytes().U32(0x3a4cab81).U32(24).U32(1).U32(1000192000).U32(12).U32(1).U64(2).get());
  v.pNext = nullptr;
  EXPECT_EQ(Written([&](Encoder& e) { EncodeEcho(e, v); }), Bytes().U32(0x3a4cab81).U32(4).U32(0).get());
}

// Registries may differ in which structs echo: what one side does not know is skipped, what it does not send stays as it was.
TEST(PinnedBytes, EchoesOfAnotherRegistryAreSkippedOrMissing) {
  VkPipelineCreationFeedback whole{9, 9};
  const VkPipelineCreationFeedbackCreateInfo feedback{VK_STRUCTURE_TYPE_PIPELINE_CREATION_FEEDBACK_CREATE_INFO, nullptr,
                                                      &whole, 0, nullptr};
  VkComputePipelineCreateInfo v{};
  v.pNext = &feedback;
  const auto decode = [&](const Bytes& bytes) {
    Arena arena(1 << 16);
    const auto raw = bytes.get();
    Decoder decoder(raw, &arena);
    DecodeEcho(decoder, v);
    return decoder.ok() && decoder.remaining() == 0;
  };
  EXPECT_TRUE(decode(Bytes()));
  EXPECT_TRUE(decode(Bytes().U32(0xffffffff).U32(4).U32(7)));
  EXPECT_EQ(whole.duration, 9u);
  EXPECT_TRUE(decode(Bytes().U32(0xffffffff).U32(0).U32(0x3a4cab81).U32(24).U32(1).U32(1000192000).U32(12).U32(1).U64(2)));
  EXPECT_EQ(whole.duration, 2u);
  // A chain member that only the server's registry lets bring something back.
  EXPECT_TRUE(decode(Bytes().U32(0x3a4cab81).U32(16).U32(1).U32(0x7fff0000).U32(4).U32(5)));
  EXPECT_FALSE(decode(Bytes().U32(0x3a4cab81).U32(25).U32(1).U32(1000192000).U32(12).U32(1).U64(2)));
}

TEST(PinnedBytes, BlobAndCommandBufferRecord) {
  const uint8_t data[] = {1, 2, 3, 4};
  CmdUpdateBufferArgs args{};
  DispatchableHeader command_buffer{0x1cdc0de, 0x1234};
  args.commandBuffer = reinterpret_cast<VkCommandBuffer>(&command_buffer);
  args.dstBuffer = HandleOf<VkBuffer>(0xb0);
  args.dstOffset = 8;
  args.dataSize = 4;
  args.pData = data;
  EXPECT_EQ(Written([&](Encoder& e) { EncodeRequest(e, args); }),
            Bytes().U32(1).U64(0x1234).U64(0xb0).U64(8).U64(4).U8({1, 2, 3, 4}).get());
}

TEST(PinnedBytes, CreateBufferRequestCarriesTheNewIdAndReplyWhetherItLives) {
  const VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, nullptr, 0, 64, 1, VK_SHARING_MODE_EXCLUSIVE, 0, nullptr};
  VkBuffer buffer = HandleOf<VkBuffer>(0xb1);
  CreateBufferArgs args{};
  args.pCreateInfo = &info;
  args.pBuffer = &buffer;
  EXPECT_EQ(Written([&](Encoder& e) { EncodeRequest(e, args); }),
            Bytes().U32(3).U64(0).U32(0).U32(0).U64(64).U32(1).U32(0).U32(0).U64(0xb1).get());
  args.result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
  buffer = VK_NULL_HANDLE;
  EXPECT_EQ(Written([&](Encoder& e) { EncodeReply(e, args); }), Bytes().U32(0xfffffffe).U8({0}).get());
}

TEST(PinnedBytes, TwoCallFormSendsRoomAndReturnsCount) {
  uint32_t count = 2;
  VkPhysicalDevice devices[2] = {};
  EnumeratePhysicalDevicesArgs args{};
  args.pPhysicalDeviceCount = &count;
  EXPECT_EQ(Written([&](Encoder& e) { EncodeRequest(e, args); }), Bytes().U32(0b01).U64(0).U32(2).get());
  args.pPhysicalDevices = devices;
  EXPECT_EQ(Written([&](Encoder& e) { EncodeRequest(e, args); }), Bytes().U32(0b11).U64(0).U32(2).U64(0).U64(0).get());
  count = 1;
  args.result = VK_INCOMPLETE;
  EXPECT_EQ(Written([&](Encoder& e) { EncodeReply(e, args); }), Bytes().U32(5).U32(1).U8({0}).get());
}

TEST(PinnedBytes, RecordHeaderAndPadding) {
  ByteBuffer buffer;
  const size_t mark = BeginRecord(&buffer, 0x1234, kWantsReply);
  const uint8_t body[] = {1, 2, 3};
  buffer.Append(body, 3);
  ASSERT_TRUE(EndRecord(&buffer, mark));
  const std::vector<uint8_t> bytes(buffer.data(), buffer.data() + buffer.size());
  EXPECT_EQ(bytes, Bytes().U16(0x1234).U16(1).U32(3).U8({1, 2, 3, 0, 0, 0, 0, 0}).get());
}

TEST(PinnedBytes, ReplyHeader) {
  ByteBuffer buffer;
  Store(buffer.Append(8), ReplyHeader{ReplyKind::kInert, VK_ERROR_DEVICE_LOST});
  const std::vector<uint8_t> bytes(buffer.data(), buffer.data() + buffer.size());
  EXPECT_EQ(bytes, Bytes().U32(1).U32(0xfffffffc).get());
}

TEST(PinnedBytes, ObjectIdHoldsTypeGenerationAndSlot) {
  const ObjectId id = MakeObjectId(static_cast<HandleType>(0xab), 0xcdef01, 0x23456789);
  EXPECT_EQ(id, 0xabcdef0123456789u);
  EXPECT_EQ(TypeOf(id), static_cast<HandleType>(0xab));
  EXPECT_EQ(GenerationOf(id), 0xcdef01u);
  EXPECT_EQ(SlotOf(id), 0x23456789u);
}

// --- hostile bytes, written by hand ------------------------------------------------------------------------------------

template <typename T>
std::string_view ErrorOf(const Bytes& bytes, HandleMapper* mapper = nullptr) {
  Arena arena(1 << 20);
  Decoder d(bytes.get(), &arena, mapper);
  T v{};
  Decode(d, v);
  EXPECT_LE(arena.used(), size_t{1} << 20);
  return d.ok() ? "" : d.error();
}

TEST(HostileBytes, CountsBeyondTheMessageAreRefused) {
  EXPECT_NE(ErrorOf<VkBufferCreateInfo>(Bytes().U32(2).U32(0).U64(0).U32(0).U32(1).U32(0xffffffff).U32(7)), "");
  EXPECT_NE(ErrorOf<VkInstanceCreateInfo>(Bytes().U32(0b1000).U32(0).U32(0).U32(0x40000000).U32(0)), "");
  EXPECT_NE(ErrorOf<VkApplicationInfo>(Bytes().U32(0b10).U32(0).U32(0).U32(0).U32(0xfffffff0).Text("x")), "");
}

TEST(HostileBytes, AnAbsentArrayWithACountIsRefused) {
  EXPECT_NE(ErrorOf<VkSubmitInfo>(Bytes().U32(0).U32(3).U32(0).U32(0)), "");
}

TEST(HostileBytes, ChainsAreBoundedAndUnknownMembersAreSkipped) {
  const auto with_chain = [](const Bytes& chain) {
    Bytes bytes;
    bytes.U32(1).U32(0).U32(0).U32(0);
    for (const uint8_t b : chain.get()) bytes.U8({b});
    return bytes;
  };
  EXPECT_EQ(ErrorOf<VkSubmitInfo>(with_chain(Bytes().U32(1).U32(0x7ffffff0).U32(3).U8({1, 2, 3}))), "");
  EXPECT_NE(ErrorOf<VkSubmitInfo>(with_chain(Bytes().U32(100000))), "") << "longer than the limit";
  EXPECT_NE(ErrorOf<VkSubmitInfo>(with_chain(Bytes().U32(1).U32(1000207003).U32(0xffffffff))), "") << "length beyond the message";
  EXPECT_NE(ErrorOf<VkSubmitInfo>(with_chain(Bytes().U32(1).U32(1000207003).U32(4).U32(0).U32(0).U32(0))), "")
      << "body longer than its length";
}

TEST(HostileBytes, UnknownSelectorIsRefused) {
  EXPECT_NE(ErrorOf<VkAccelerationStructureGeometryKHR>(Bytes().U32(0).U32(77).U32(0).Zeros(64)), "");
}

class Refusing : public HandleMapper {
 public:
  ObjectId ToWire(HandleType, uint64_t) const override { return 0; }
  bool FromWire(HandleType, ObjectId id, HandleUse, uint64_t* handle) override {
    *handle = id;
    return GenerationOf(id) != 0;
  }
};

TEST(HostileBytes, IdsThatWereNeverMintedEndTheDecoding) {
  Refusing mapper;
  const auto barrier = [](uint64_t image) {
    return Bytes().U32(0).U32(1).U32(2).U32(0).U32(1).U32(0).U32(0).U64(image).Zeros(20);
  };
  EXPECT_EQ(ErrorOf<VkImageMemoryBarrier>(barrier(MakeObjectId(HandleType::kImage, 1, 5)), &mapper), "");
  EXPECT_NE(ErrorOf<VkImageMemoryBarrier>(barrier(MakeObjectId(HandleType::kImage, 0, 5)), &mapper), "") << "generation 0";
}

TEST(HostileBytes, RepliesCannotReturnMoreThanThereIsRoomFor) {
  uint32_t count = 1;
  VkPhysicalDevice devices[1] = {};
  EnumeratePhysicalDevicesArgs args{};
  args.pPhysicalDeviceCount = &count;
  args.pPhysicalDevices = devices;
  Arena arena(1 << 20);
  const Bytes reply = Bytes().U32(0).U32(2).U8({1, 1});
  Decoder d(reply.get(), &arena);
  DecodeReply(d, args);
  EXPECT_FALSE(d.ok());
}

TEST(HostileBytes, RecordsShorterThanTheyClaimAreNotTaken) {
  const Bytes bytes = Bytes().U16(1).U16(0).U32(9).Zeros(8);
  std::span<const uint8_t> rest(bytes.get());
  RecordHeader header;
  std::span<const uint8_t> body;
  EXPECT_FALSE(NextRecord(&rest, &header, &body));
  EXPECT_EQ(rest.size(), 16u);
}

}  // namespace
}  // namespace vesper::wire
