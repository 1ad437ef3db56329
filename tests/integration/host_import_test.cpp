// Programs that give the device memory of their own (VK_EXT_external_memory_host): what they and the device write there is
// seen by the other, pages that may only be read included.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "shaders/increment_comp.h"
#include "tests/integration/gpu_test.h"

namespace vesper::test {
namespace {

constexpr VkExternalMemoryHandleTypeFlagBits kHostPages = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
constexpr size_t kSize = 256 * 1024;

// Memory of the program's, at 64 KiB, which is as much as a driver may want.
class OwnPages {
 public:
  OwnPages() : all_(mmap(nullptr, kSize + kGap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (all_ == MAP_FAILED) throw std::runtime_error("no memory");
    const auto address = reinterpret_cast<uintptr_t>(all_);
    data_ = reinterpret_cast<uint8_t*>((address + kGap - 1) / kGap * kGap);
  }
  ~OwnPages() { munmap(all_, kSize + kGap); }
  OwnPages(const OwnPages&) = delete;
  OwnPages& operator=(const OwnPages&) = delete;

  uint8_t* data() const { return data_; }
  std::span<uint32_t> words() const { return {reinterpret_cast<uint32_t*>(data_), kSize / 4}; }
  void Protect(size_t offset, size_t size, int how) const { ASSERT_EQ(mprotect(data_ + offset, size, how), 0); }

 private:
  static constexpr size_t kGap = 64 * 1024;
  void* all_;
  uint8_t* data_;
};

class HostImportTest : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (!OpenWith({VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME}, nullptr)) GTEST_SKIP() << "the device cannot import";
    properties_ = gpu().DeviceFunction<PFN_vkGetMemoryHostPointerPropertiesEXT>("vkGetMemoryHostPointerPropertiesEXT");
  }

  VkResult Allocate(void* pointer, uint32_t type, VkDeviceMemory* memory) {
    VkImportMemoryHostPointerInfoEXT import = {VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT};
    import.handleType = kHostPages;
    import.pHostPointer = pointer;
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
    info.pNext = &import;
    info.allocationSize = kSize;
    info.memoryTypeIndex = type;
    return vkAllocateMemory(device(), &info, nullptr, memory);
  }

  // A buffer over all of the pages.
  Buffer Import(const OwnPages& pages) {
    VkMemoryHostPointerPropertiesEXT pointer = {VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT};
    VK_CHECK(properties_(device(), kHostPages, pages.data(), &pointer));
    VkExternalMemoryBufferCreateInfo external = {VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO};
    external.handleTypes = kHostPages;
    VkBufferCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
    info.pNext = &external;
    info.size = kSize;
    info.usage =
        VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;
    Buffer buffer;
    buffer.size = kSize;
    buffer.handle = Create<VkBuffer>(device(), vkCreateBuffer, vkDestroyBuffer, info);
    VkMemoryRequirements needs;
    vkGetBufferMemoryRequirements(device(), buffer.handle, &needs);
    const uint32_t type = gpu().FindMemoryType(needs.memoryTypeBits & pointer.memoryTypeBits, 0);
    VkDeviceMemory memory = VK_NULL_HANDLE;
    VK_CHECK(Allocate(pages.data(), type, &memory));
    buffer.memory = {device(), memory, vkFreeMemory};
    VK_CHECK(vkBindBufferMemory(device(), buffer.handle, memory, 0));
    return buffer;
  }

  void Increment(const Buffer& buffer) {
    const Buffer* buffers[] = {&buffer};
    const Kernel kernel = MakeKernel(gpu(), increment_comp, buffers);
    RunCommands(gpu(), [&](VkCommandBuffer commands) {
      FullBarrier(commands);
      kernel.Bind(commands);
      vkCmdDispatch(commands, kSize / 4 / 64, 1, 1);
      FullBarrier(commands);
    });
  }
  void Copy(const Buffer& from, const Buffer& to) {
    RunCommands(gpu(), [&](VkCommandBuffer commands) {
      const VkBufferCopy whole = {0, 0, kSize};
      FullBarrier(commands);
      vkCmdCopyBuffer(commands, from.handle, to.handle, 1, &whole);
      FullBarrier(commands);
    });
  }

  PFN_vkGetMemoryHostPointerPropertiesEXT properties_ = nullptr;
};

TEST_F(HostImportTest, BothSidesSeeIt) {
  const OwnPages pages;
  std::iota(pages.words().begin(), pages.words().end(), 10u);
  const Buffer buffer = Import(pages);
  for (uint32_t round = 1; round <= 5; ++round) {
    Increment(buffer);
    for (uint32_t i = 0; i < pages.words().size(); ++i) ASSERT_EQ(pages.words()[i], 10 + i + round) << i;
  }
  pages.words()[12345] = 1;
  Increment(buffer);
  EXPECT_EQ(pages.words()[12345], 2u);
  EXPECT_EQ(pages.words()[12346], 10u + 12346 + 6);
}

// What lies in the pages when they are imported is theirs, whatever the device's memory held.
TEST_F(HostImportTest, ContentsStay) {
  const OwnPages pages;
  for (int round = 0; round < 3; ++round) {
    std::ranges::fill(pages.words(), round == 1 ? 0u : 0xdeadbeefu);
    const Buffer buffer = Import(pages);
    const Buffer copy = MakeBuffer(gpu(), kSize, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
    Copy(buffer, copy);
    const uint32_t expected = round == 1 ? 0u : 0xdeadbeefu;
    EXPECT_EQ(std::ranges::count(pages.words(), expected), kSize / 4);
    EXPECT_EQ(std::ranges::count(copy.As<uint32_t>(), expected), kSize / 4);
  }
}

TEST_F(HostImportTest, MappedAtItsOwnAddress) {
  const OwnPages pages;
  const Buffer buffer = Import(pages);
  void* mapped = nullptr;
  VK_CHECK(vkMapMemory(device(), buffer.memory, 4096, 100, 0, &mapped));
  static_cast<uint32_t*>(mapped)[3] = 41;
  vkUnmapMemory(device(), buffer.memory);
  Increment(buffer);
  VK_CHECK(vkMapMemory(device(), buffer.memory, 4096, 100, 0, &mapped));
  EXPECT_EQ(static_cast<uint32_t*>(mapped)[3], 42u);
  vkUnmapMemory(device(), buffer.memory);
}

// The device reads pages that the program cannot write (a file's, say).
TEST_F(HostImportTest, ReadOnlyPages) {
  const OwnPages pages;
  std::iota(pages.words().begin(), pages.words().end(), 3u);
  pages.Protect(0, kSize, PROT_READ);
  {
    const Buffer buffer = Import(pages);
    const Buffer copy = MakeBuffer(gpu(), kSize, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
    Copy(buffer, copy);
    for (uint32_t i = 0; i < kSize / 4; ++i) ASSERT_EQ(copy.As<uint32_t>()[i], i + 3) << i;
  }
  pages.Protect(0, kSize, PROT_READ | PROT_WRITE);
}

TEST_F(HostImportTest, MisalignedIsRefused) {
  VkPhysicalDeviceExternalMemoryHostPropertiesEXT host = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT};
  VkPhysicalDeviceProperties2 properties = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
  properties.pNext = &host;
  vkGetPhysicalDeviceProperties2(gpu().physical_device(), &properties);
  EXPECT_GE(host.minImportedHostPointerAlignment, static_cast<VkDeviceSize>(sysconf(_SC_PAGESIZE)));
  const OwnPages pages;
  VkMemoryHostPointerPropertiesEXT pointer = {VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT};
  VK_CHECK(properties_(device(), kHostPages, pages.data(), &pointer));
  EXPECT_NE(pointer.memoryTypeBits, 0u);
}

// Through Vesper only: what is wrong by the specification, which local drivers may take.
class HostImportRefusalTest : public HostImportTest {};

TEST_F(HostImportRefusalTest, UnalignedPointer) {
  if (ValidationWanted()) GTEST_SKIP() << "the layer objects";
  const OwnPages pages;
  VkMemoryHostPointerPropertiesEXT pointer = {VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT};
  VK_CHECK(properties_(device(), kHostPages, pages.data(), &pointer));
  const uint32_t type = gpu().FindMemoryType(pointer.memoryTypeBits, 0);
  VkDeviceMemory memory = VK_NULL_HANDLE;
  EXPECT_EQ(Allocate(pages.data() + 8, type, &memory), VK_ERROR_INVALID_EXTERNAL_HANDLE);
  EXPECT_EQ(properties_(device(), kHostPages, pages.data() + 8, &pointer), VK_ERROR_INVALID_EXTERNAL_HANDLE);
  EXPECT_EQ(Allocate(pages.data(), type, &memory), VK_SUCCESS);
  vkFreeMemory(device(), memory, nullptr);
}

// Pages that lose their access while the device has them are no reason to crash; the others go on.
TEST_F(HostImportRefusalTest, PagesWithoutAccess) {
  const OwnPages pages;
  std::iota(pages.words().begin(), pages.words().end(), 1u);
  const Buffer buffer = Import(pages);
  Increment(buffer);
  pages.Protect(8192, 4096, PROT_NONE);
  pages.Protect(65536, 4096, PROT_READ);
  pages.words()[0] = 100;
  Increment(buffer);
  EXPECT_EQ(pages.words()[0], 101u);
  EXPECT_EQ(pages.words()[65536 / 4], 65536u / 4 + 2);  // could not be written
  EXPECT_EQ(pages.words()[kSize / 4 - 1], kSize / 4 + 2);
  pages.Protect(0, kSize, PROT_READ | PROT_WRITE);
  EXPECT_EQ(pages.words()[8192 / 4], 8192u / 4 + 2);
}

}  // namespace
}  // namespace vesper::test
