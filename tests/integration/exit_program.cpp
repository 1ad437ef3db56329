// Vulkan where a program has all but ended: in a thread's key destructor, in a handler of atexit() and in the destructor of a
// static object. What the driver uses must still be there then, and no byte of the program's own may change. Ends with 0 when
// all of it ran and was right.
#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "tests/support/vulkan_context.h"
#include "tests/support/vulkan_resources.h"

namespace vesper::test {
namespace {

constexpr uint8_t kOurs = 0xA5;
Context* g_context = nullptr;
int g_rounds = 0;

[[noreturn]] void Fail(const char* why) {
  std::fprintf(stderr, "exit_program: %s\n", why);
  _exit(1);
}

// Creations, remembered questions and a wait: each took memory of the calling thread's once. The blocks have the sizes that
// such memory has, so that what still writes to it writes to them.
void Work() {
  std::vector<std::unique_ptr<std::vector<uint8_t>>> blocks;
  for (uint32_t i = 0; i < 64; ++i) {
    for (const size_t size : {120u, 248u, 504u, 1000u, 16384u})
      blocks.push_back(std::make_unique<std::vector<uint8_t>>(size, kOurs));
    VkBufferCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
    info.size = 256 + 16 * i;
    info.usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT;
    VkBuffer buffer = VK_NULL_HANDLE;
    VK_CHECK(vkCreateBuffer(g_context->device(), &info, nullptr, &buffer));
    VkMemoryRequirements requirements;
    vkGetBufferMemoryRequirements(g_context->device(), buffer, &requirements);
    if (requirements.size < info.size) Fail("a buffer's requirements are wrong");
    vkDestroyBuffer(g_context->device(), buffer, nullptr);
    VkFormatProperties format;
    vkGetPhysicalDeviceFormatProperties(g_context->physical_device(), static_cast<VkFormat>(1 + i), &format);
  }
  RunCommands(*g_context, [](VkCommandBuffer) {});
  for (const auto& block : blocks) {
    for (const uint8_t byte : *block) {
      if (byte != kOurs) Fail("the program's own memory was written");
    }
  }
  ++g_rounds;
}

// Constructed before the first call of Vulkan: destroyed after everything that came later.
struct Last {
  ~Last() {
    if (g_context == nullptr) return;
    Work();
    if (g_rounds != 4) Fail("not every round ran");
    std::printf("all rounds ran\n");
  }
};
Last g_last;

void Run() {
  g_context = new Context;  // never destroyed, as in programs that end this way
  Work();
  pthread_key_t key;
  if (pthread_key_create(&key, [](void*) { Work(); }) != 0) Fail("no key");
  std::thread([&] { pthread_setspecific(key, g_context); }).join();
  if (std::atexit(Work) != 0) Fail("no handler");
}

}  // namespace
}  // namespace vesper::test

int main() {
  vesper::test::Run();
  return 0;
}
