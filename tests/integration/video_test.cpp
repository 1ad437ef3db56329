// A video decoder of the device's, given two pictures whose every pixel is known: one by itself, one that refers to it.
#include <algorithm>
#include <cstring>

#include "tests/integration/gpu_test.h"
#include "tests/integration/h264_pictures.h"

namespace vesper::test {
namespace {

constexpr uint32_t kPictures = 2;

uint64_t RoundedUp(uint64_t value, uint64_t alignment) { return (value + alignment - 1) / alignment * alignment; }

// What is decoded, as everything that takes part names it.
struct Profile {
  Profile() {
    h264.stdProfileIdc = STD_VIDEO_H264_PROFILE_IDC_MAIN;
    h264.pictureLayout = VK_VIDEO_DECODE_H264_PICTURE_LAYOUT_PROGRESSIVE_KHR;
    info.pNext = &h264;
    info.videoCodecOperation = VK_VIDEO_CODEC_OPERATION_DECODE_H264_BIT_KHR;
    info.chromaSubsampling = VK_VIDEO_CHROMA_SUBSAMPLING_420_BIT_KHR;
    info.lumaBitDepth = info.chromaBitDepth = VK_VIDEO_COMPONENT_BIT_DEPTH_8_BIT_KHR;
    list.profileCount = 1;
    list.pProfiles = &info;
  }
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  VkVideoDecodeH264ProfileInfoKHR h264 = {VK_STRUCTURE_TYPE_VIDEO_DECODE_H264_PROFILE_INFO_KHR};
  VkVideoProfileInfoKHR info = {VK_STRUCTURE_TYPE_VIDEO_PROFILE_INFO_KHR};
  VkVideoProfileListInfoKHR list = {VK_STRUCTURE_TYPE_VIDEO_PROFILE_LIST_INFO_KHR};
};

struct Capabilities {
  VkVideoDecodeH264CapabilitiesKHR h264 = {VK_STRUCTURE_TYPE_VIDEO_DECODE_H264_CAPABILITIES_KHR};
  VkVideoDecodeCapabilitiesKHR decode = {VK_STRUCTURE_TYPE_VIDEO_DECODE_CAPABILITIES_KHR, &h264, 0};
  VkVideoCapabilitiesKHR all = {VK_STRUCTURE_TYPE_VIDEO_CAPABILITIES_KHR, &decode};
};

// Two layers, a picture each.
struct Pictures {
  Owned<VkDeviceMemory> memory;
  Owned<VkImage> image;
  Owned<VkImageView> view;
};

struct Session {
  std::vector<Owned<VkDeviceMemory>> memory;
  Owned<VkVideoSessionKHR> session;
  Owned<VkVideoSessionParametersKHR> parameters;
};

class VideoTest : public GpuTest {
 protected:
  // False where no queue decodes H.264.
  bool OpenDecoder() {
    const VkPhysicalDevice physical = gpu().physical_device();
    uint32_t count = 0;
    vkGetPhysicalDeviceQueueFamilyProperties2(physical, &count, nullptr);
    std::vector<VkQueueFamilyVideoPropertiesKHR> videos(count, {VK_STRUCTURE_TYPE_QUEUE_FAMILY_VIDEO_PROPERTIES_KHR});
    std::vector<VkQueueFamilyQueryResultStatusPropertiesKHR> states(
        count, {VK_STRUCTURE_TYPE_QUEUE_FAMILY_QUERY_RESULT_STATUS_PROPERTIES_KHR});
    std::vector<VkQueueFamilyProperties2> families(count, {VK_STRUCTURE_TYPE_QUEUE_FAMILY_PROPERTIES_2});
    for (uint32_t i = 0; i < count; ++i) {
      videos[i].pNext = &states[i];
      families[i].pNext = &videos[i];
    }
    vkGetPhysicalDeviceQueueFamilyProperties2(physical, &count, families.data());
    for (uint32_t i = 0; i < count; ++i) {
      if ((videos[i].videoCodecOperations & VK_VIDEO_CODEC_OPERATION_DECODE_H264_BIT_KHR) == 0) continue;
      family_ = i;
      tells_status_ = states[i].queryResultStatusSupport == VK_TRUE;
      ContextOptions options;
      options.device_extensions = {VK_KHR_VIDEO_QUEUE_EXTENSION_NAME, VK_KHR_VIDEO_DECODE_QUEUE_EXTENSION_NAME,
                                   VK_KHR_VIDEO_DECODE_H264_EXTENSION_NAME};
      options.other_family = i;
      Open(options);
      return true;
    }
    return false;
  }

  void AskCapabilities() {
    VK_CHECK(gpu().InstanceFunction<PFN_vkGetPhysicalDeviceVideoCapabilitiesKHR>(
        "vkGetPhysicalDeviceVideoCapabilitiesKHR")(gpu().physical_device(), &profile_.info, &capabilities_.all));
    const VkExtent2D least = capabilities_.all.minCodedExtent;
    columns_ = std::max(8u, (least.width + 15) / 16);
    rows_ = std::max(6u, (least.height + 15) / 16);
  }
  VkExtent2D extent() const { return {columns_ * 16, rows_ * 16}; }

  bool OffersFormat(VkImageUsageFlags usage) {
    VkPhysicalDeviceVideoFormatInfoKHR info = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VIDEO_FORMAT_INFO_KHR, &profile_.list,
                                               usage};
    const auto ask = gpu().InstanceFunction<PFN_vkGetPhysicalDeviceVideoFormatPropertiesKHR>(
        "vkGetPhysicalDeviceVideoFormatPropertiesKHR");
    uint32_t count = 0;
    VK_CHECK(ask(gpu().physical_device(), &info, &count, nullptr));
    std::vector<VkVideoFormatPropertiesKHR> formats(count, {VK_STRUCTURE_TYPE_VIDEO_FORMAT_PROPERTIES_KHR});
    VK_CHECK(ask(gpu().physical_device(), &info, &count, formats.data()));
    return std::ranges::any_of(formats, [](const VkVideoFormatPropertiesKHR& each) {
      return each.format == VK_FORMAT_G8_B8R8_2PLANE_420_UNORM && each.imageTiling == VK_IMAGE_TILING_OPTIMAL;
    });
  }

  Owned<VkDeviceMemory> Allocate(const VkMemoryRequirements& needs, VkMemoryPropertyFlags wanted) {
    uint32_t type = gpu().FindMemoryType(needs.memoryTypeBits, wanted);
    if (type == UINT32_MAX) type = gpu().FindMemoryType(needs.memoryTypeBits, 0);
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr, needs.size, type};
    return Create<VkDeviceMemory>(device(), vkAllocateMemory, vkFreeMemory, info);
  }

  Pictures MakePictures(VkImageUsageFlags usage) {
    const uint32_t families[] = {gpu().queue_family(), family_};
    VkImageCreateInfo info = {VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO};
    info.pNext = &profile_.list;
    info.imageType = VK_IMAGE_TYPE_2D;
    info.format = VK_FORMAT_G8_B8R8_2PLANE_420_UNORM;
    info.extent = {extent().width, extent().height, 1};
    info.mipLevels = 1;
    info.arrayLayers = kPictures;
    info.samples = VK_SAMPLE_COUNT_1_BIT;
    info.tiling = VK_IMAGE_TILING_OPTIMAL;
    info.usage = usage;
    info.sharingMode = VK_SHARING_MODE_CONCURRENT;
    info.queueFamilyIndexCount = 2;
    info.pQueueFamilyIndices = families;
    Pictures made;
    made.image = Create<VkImage>(device(), vkCreateImage, vkDestroyImage, info);
    VkMemoryRequirements needs;
    vkGetImageMemoryRequirements(device(), made.image, &needs);
    made.memory = Allocate(needs, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
    VK_CHECK(vkBindImageMemory(device(), made.image, made.memory, 0));
    VkImageViewCreateInfo view = {VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO};
    view.image = made.image;
    view.viewType = VK_IMAGE_VIEW_TYPE_2D_ARRAY;
    view.format = info.format;
    view.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, kPictures};
    made.view = Create<VkImageView>(device(), vkCreateImageView, vkDestroyImageView, view);
    return made;
  }

  // The two slices, each where the decoder may read it.
  Buffer MakeStream(VkDeviceSize* distance) {
    const H264Pictures pictures(columns_, rows_);
    const std::vector<uint8_t> slices[] = {pictures.FirstSlice(), pictures.SecondSlice()};
    const VkVideoCapabilitiesKHR& needs = capabilities_.all;
    *distance = RoundedUp(RoundedUp(slices[0].size(), needs.minBitstreamBufferSizeAlignment),
                          needs.minBitstreamBufferOffsetAlignment);
    Buffer made;
    made.size = *distance * kPictures;
    VkBufferCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
    info.pNext = &profile_.list;
    info.size = made.size;
    info.usage = VK_BUFFER_USAGE_VIDEO_DECODE_SRC_BIT_KHR;
    made.handle = Create<VkBuffer>(device(), vkCreateBuffer, vkDestroyBuffer, info);
    VkMemoryRequirements requirements;
    vkGetBufferMemoryRequirements(device(), made.handle, &requirements);
    made.memory = Allocate(requirements, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
    VK_CHECK(vkBindBufferMemory(device(), made.handle, made.memory, 0));
    VK_CHECK(vkMapMemory(device(), made.memory, 0, VK_WHOLE_SIZE, 0, &made.mapped));
    std::memset(made.mapped, 0, made.size);
    for (uint32_t i = 0; i < kPictures; ++i) {
      std::ranges::copy(slices[i], made.As<uint8_t>().begin() + static_cast<ptrdiff_t>(i * *distance));
    }
    return made;
  }

  Session MakeSession() {
    Session made;
    VkVideoSessionCreateInfoKHR info = {VK_STRUCTURE_TYPE_VIDEO_SESSION_CREATE_INFO_KHR};
    info.queueFamilyIndex = family_;
    info.pVideoProfile = &profile_.info;
    info.pictureFormat = info.referencePictureFormat = VK_FORMAT_G8_B8R8_2PLANE_420_UNORM;
    info.maxCodedExtent = extent();
    info.maxDpbSlots = kPictures;
    info.maxActiveReferencePictures = 1;
    info.pStdHeaderVersion = &capabilities_.all.stdHeaderVersion;
    made.session = Create<VkVideoSessionKHR>(
        device(), gpu().DeviceFunction<PFN_vkCreateVideoSessionKHR>("vkCreateVideoSessionKHR"),
        gpu().DeviceFunction<PFN_vkDestroyVideoSessionKHR>("vkDestroyVideoSessionKHR"), info);
    BindSession(&made);
    made.parameters = MakeParameters(made.session);
    return made;
  }

  void BindSession(Session* made) {
    const auto ask =
        gpu().DeviceFunction<PFN_vkGetVideoSessionMemoryRequirementsKHR>("vkGetVideoSessionMemoryRequirementsKHR");
    uint32_t count = 0;
    VK_CHECK(ask(device(), made->session, &count, nullptr));
    std::vector<VkVideoSessionMemoryRequirementsKHR> needs(count,
                                                           {VK_STRUCTURE_TYPE_VIDEO_SESSION_MEMORY_REQUIREMENTS_KHR});
    VK_CHECK(ask(device(), made->session, &count, needs.data()));
    std::vector<VkBindVideoSessionMemoryInfoKHR> binds;
    for (const VkVideoSessionMemoryRequirementsKHR& each : needs) {
      made->memory.push_back(Allocate(each.memoryRequirements, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT));
      binds.push_back({VK_STRUCTURE_TYPE_BIND_VIDEO_SESSION_MEMORY_INFO_KHR, nullptr, each.memoryBindIndex,
                       made->memory.back(), 0, each.memoryRequirements.size});
    }
    VK_CHECK(gpu().DeviceFunction<PFN_vkBindVideoSessionMemoryKHR>("vkBindVideoSessionMemoryKHR")(
        device(), made->session, count, binds.data()));
  }

  // As H264Pictures writes its slices.
  Owned<VkVideoSessionParametersKHR> MakeParameters(VkVideoSessionKHR session) {
    StdVideoH264SequenceParameterSet sequence = {};
    sequence.flags.frame_mbs_only_flag = sequence.flags.direct_8x8_inference_flag = 1;
    sequence.profile_idc = STD_VIDEO_H264_PROFILE_IDC_MAIN;
    sequence.level_idc = STD_VIDEO_H264_LEVEL_IDC_4_0;
    sequence.chroma_format_idc = STD_VIDEO_H264_CHROMA_FORMAT_IDC_420;
    sequence.pic_order_cnt_type = STD_VIDEO_H264_POC_TYPE_2;
    sequence.max_num_ref_frames = 1;
    sequence.pic_width_in_mbs_minus1 = columns_ - 1;
    sequence.pic_height_in_map_units_minus1 = rows_ - 1;
    StdVideoH264PictureParameterSet picture = {};
    picture.flags.deblocking_filter_control_present_flag = 1;
    picture.weighted_bipred_idc = STD_VIDEO_H264_WEIGHTED_BIPRED_IDC_DEFAULT;
    VkVideoDecodeH264SessionParametersAddInfoKHR sets = {
        VK_STRUCTURE_TYPE_VIDEO_DECODE_H264_SESSION_PARAMETERS_ADD_INFO_KHR, nullptr, 1, &sequence, 1, &picture};
    VkVideoDecodeH264SessionParametersCreateInfoKHR h264 = {
        VK_STRUCTURE_TYPE_VIDEO_DECODE_H264_SESSION_PARAMETERS_CREATE_INFO_KHR, nullptr, 1, 1, &sets};
    VkVideoSessionParametersCreateInfoKHR info = {VK_STRUCTURE_TYPE_VIDEO_SESSION_PARAMETERS_CREATE_INFO_KHR, &h264};
    info.videoSession = session;
    return Create<VkVideoSessionParametersKHR>(
        device(), gpu().DeviceFunction<PFN_vkCreateVideoSessionParametersKHR>("vkCreateVideoSessionParametersKHR"),
        gpu().DeviceFunction<PFN_vkDestroyVideoSessionParametersKHR>("vkDestroyVideoSessionParametersKHR"), info);
  }

  // On the queue that decodes.
  void RunOnDecoder(const std::function<void(VkCommandBuffer)>& record) {
    VkCommandPoolCreateInfo info = {VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
    info.queueFamilyIndex = family_;
    const auto pool = Create<VkCommandPool>(device(), vkCreateCommandPool, vkDestroyCommandPool, info);
    const VkCommandBuffer commands = AllocateCommands(gpu(), pool);
    BeginCommands(commands);
    record(commands);
    VK_CHECK(vkEndCommandBuffer(commands));
    VkSubmitInfo submit = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
    submit.commandBufferCount = 1;
    submit.pCommandBuffers = &commands;
    const auto fence = MakeFence(gpu());
    VK_CHECK(vkQueueSubmit(gpu().other_queue(), 1, &submit, fence));
    WaitFor(gpu(), fence);
  }

  static void Change(VkCommandBuffer commands, VkImage image, VkImageLayout from, VkImageLayout to) {
    VkImageMemoryBarrier barrier = {VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER};
    barrier.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT;
    barrier.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
    barrier.oldLayout = from;
    barrier.newLayout = to;
    barrier.srcQueueFamilyIndex = barrier.dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
    barrier.image = image;
    barrier.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, kPictures};
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 0,
                         nullptr, 0, nullptr, 1, &barrier);
  }

  // Picture `i` of the stream; the second refers to the first.
  void Decode(const Session& session, const Buffer& stream, VkDeviceSize distance, const Pictures& references,
              const Pictures& outputs, VkQueryPool statuses, uint32_t i);
  Frame Read(VkImage image, uint32_t layer);

  const Profile profile_;
  Capabilities capabilities_;
  uint32_t family_ = 0;
  bool tells_status_ = false;
  uint32_t columns_ = 0;
  uint32_t rows_ = 0;
};

void VideoTest::Decode(const Session& session, const Buffer& stream, VkDeviceSize distance, const Pictures& references,
                       const Pictures& outputs, VkQueryPool statuses, uint32_t i) {
  StdVideoDecodeH264ReferenceInfo numbers[kPictures] = {};
  VkVideoDecodeH264DpbSlotInfoKHR numbered[kPictures] = {};
  VkVideoPictureResourceInfoKHR pictures[kPictures] = {};
  VkVideoReferenceSlotInfoKHR slots[kPictures] = {};
  for (uint32_t each = 0; each <= i; ++each) {
    numbers[each].FrameNum = static_cast<uint16_t>(each);
    numbers[each].PicOrderCnt[0] = numbers[each].PicOrderCnt[1] = static_cast<int32_t>(2 * each);
    numbered[each] = {VK_STRUCTURE_TYPE_VIDEO_DECODE_H264_DPB_SLOT_INFO_KHR, nullptr, &numbers[each]};
    pictures[each] = {
        VK_STRUCTURE_TYPE_VIDEO_PICTURE_RESOURCE_INFO_KHR, nullptr, {0, 0}, extent(), each, references.view};
    slots[each] = {VK_STRUCTURE_TYPE_VIDEO_REFERENCE_SLOT_INFO_KHR, &numbered[each], static_cast<int32_t>(each),
                   &pictures[each]};
  }
  VkVideoReferenceSlotInfoKHR known[kPictures] = {slots[0], slots[1]};
  known[i].slotIndex = -1;  // from this picture on
  VkVideoBeginCodingInfoKHR begin = {VK_STRUCTURE_TYPE_VIDEO_BEGIN_CODING_INFO_KHR};
  begin.videoSession = session.session;
  begin.videoSessionParameters = session.parameters;
  begin.referenceSlotCount = i + 1;
  begin.pReferenceSlots = known;

  StdVideoDecodeH264PictureInfo picture = {};
  picture.flags.is_intra = picture.flags.IdrPicFlag = i == 0;
  picture.flags.is_reference = 1;
  picture.frame_num = numbers[i].FrameNum;
  std::ranges::copy(numbers[i].PicOrderCnt, picture.PicOrderCnt);
  const uint32_t start = 0;
  VkVideoDecodeH264PictureInfoKHR h264 = {VK_STRUCTURE_TYPE_VIDEO_DECODE_H264_PICTURE_INFO_KHR, nullptr, &picture, 1,
                                          &start};
  VkVideoDecodeInfoKHR decode = {VK_STRUCTURE_TYPE_VIDEO_DECODE_INFO_KHR, &h264};
  decode.srcBuffer = stream.handle;
  decode.srcBufferOffset = i * distance;
  decode.srcBufferRange = distance;
  decode.dstPictureResource = pictures[i];
  decode.dstPictureResource.imageViewBinding = outputs.view;
  decode.pSetupReferenceSlot = &slots[i];
  decode.referenceSlotCount = i;
  decode.pReferenceSlots = slots;

  RunOnDecoder([&](VkCommandBuffer commands) {
    VkVideoCodingControlInfoKHR control = {VK_STRUCTURE_TYPE_VIDEO_CODING_CONTROL_INFO_KHR};
    control.flags = VK_VIDEO_CODING_CONTROL_RESET_BIT_KHR;
    VkVideoEndCodingInfoKHR end = {VK_STRUCTURE_TYPE_VIDEO_END_CODING_INFO_KHR};
    if (i == 0) {
      Change(commands, references.image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_VIDEO_DECODE_DPB_KHR);
      if (outputs.image.get() != references.image.get()) {
        Change(commands, outputs.image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_VIDEO_DECODE_DST_KHR);
      }
    }
    gpu().DeviceFunction<PFN_vkCmdBeginVideoCodingKHR>("vkCmdBeginVideoCodingKHR")(commands, &begin);
    if (i == 0) gpu().DeviceFunction<PFN_vkCmdControlVideoCodingKHR>("vkCmdControlVideoCodingKHR")(commands, &control);
    if (tells_status_) vkCmdBeginQuery(commands, statuses, i, 0);
    gpu().DeviceFunction<PFN_vkCmdDecodeVideoKHR>("vkCmdDecodeVideoKHR")(commands, &decode);
    if (tells_status_) vkCmdEndQuery(commands, statuses, i);
    gpu().DeviceFunction<PFN_vkCmdEndVideoCodingKHR>("vkCmdEndVideoCodingKHR")(commands, &end);
  });
}

// Of an image in TRANSFER_SRC_OPTIMAL.
Frame VideoTest::Read(VkImage image, uint32_t layer) {
  const VkExtent2D size = extent();
  const size_t luma = size_t{size.width} * size.height;
  const Buffer buffer = MakeBuffer(gpu(), luma * 3 / 2, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    VkBufferImageCopy planes[2] = {};
    planes[0].imageSubresource = {VK_IMAGE_ASPECT_PLANE_0_BIT, 0, layer, 1};
    planes[0].imageExtent = {size.width, size.height, 1};
    planes[1].bufferOffset = luma;
    planes[1].imageSubresource = {VK_IMAGE_ASPECT_PLANE_1_BIT, 0, layer, 1};
    planes[1].imageExtent = {size.width / 2, size.height / 2, 1};
    vkCmdCopyImageToBuffer(commands, image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, buffer.handle, 2, planes);
    FullBarrier(commands);
  });
  const std::span<uint8_t> bytes = buffer.As<uint8_t>();
  return {{bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(luma)},
          {bytes.begin() + static_cast<ptrdiff_t>(luma), bytes.end()}};
}

TEST_F(VideoTest, H264IsDecodedToTheLastBit) {
  if (!HasDeviceExtension(gpu().physical_device(), VK_KHR_VIDEO_DECODE_H264_EXTENSION_NAME) || !OpenDecoder()) {
    GTEST_SKIP() << "no decoder of H.264";
  }
  AskCapabilities();
  const bool together = (capabilities_.decode.flags & VK_VIDEO_DECODE_CAPABILITY_DPB_AND_OUTPUT_COINCIDE_BIT_KHR) != 0;
  constexpr VkImageUsageFlags kReference = VK_IMAGE_USAGE_VIDEO_DECODE_DPB_BIT_KHR;
  constexpr VkImageUsageFlags kOutput = VK_IMAGE_USAGE_VIDEO_DECODE_DST_BIT_KHR | VK_IMAGE_USAGE_TRANSFER_SRC_BIT;
  ASSERT_TRUE(OffersFormat(together ? kOutput | kReference : kOutput));

  const Pictures references = MakePictures(together ? kOutput | kReference : kReference);
  const Pictures others = together ? Pictures{} : MakePictures(kOutput);
  const Pictures& outputs = together ? references : others;
  VkDeviceSize distance = 0;
  const Buffer stream = MakeStream(&distance);
  const Session session = MakeSession();
  VkQueryPoolCreateInfo info = {VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
  info.pNext = &profile_.info;
  info.queryType = VK_QUERY_TYPE_RESULT_STATUS_ONLY_KHR;
  info.queryCount = kPictures;
  Owned<VkQueryPool> statuses;
  if (tells_status_) {
    statuses = Create<VkQueryPool>(device(), vkCreateQueryPool, vkDestroyQueryPool, info);
    vkResetQueryPool(device(), statuses, 0, kPictures);
  }
  for (uint32_t i = 0; i < kPictures; ++i) Decode(session, stream, distance, references, outputs, statuses, i);
  RunOnDecoder([&](VkCommandBuffer commands) {
    Change(commands, outputs.image,
           together ? VK_IMAGE_LAYOUT_VIDEO_DECODE_DPB_KHR : VK_IMAGE_LAYOUT_VIDEO_DECODE_DST_KHR,
           VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
  });

  if (tells_status_) {
    int32_t found[kPictures] = {};
    VK_CHECK(vkGetQueryPoolResults(device(), statuses, 0, kPictures, sizeof found, found, sizeof found[0],
                                   VK_QUERY_RESULT_WITH_STATUS_BIT_KHR));
    for (const int32_t status : found) EXPECT_EQ(status, VK_QUERY_RESULT_STATUS_COMPLETE_KHR);
  }
  const H264Pictures pictures(columns_, rows_);
  const Frame wanted[] = {pictures.first(), pictures.second()};
  for (uint32_t i = 0; i < kPictures; ++i) {
    const Frame got = Read(outputs.image, i);
    EXPECT_TRUE(got.luma == wanted[i].luma) << "picture " << i;
    EXPECT_TRUE(got.chroma == wanted[i].chroma) << "picture " << i;
  }
}

}  // namespace
}  // namespace vesper::test
