#include "client/session/physical_device.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>
#include <utility>

#include "client/base/limits.h"
#include "client/session/call.h"
#include "client/session/session.h"
#include "generated/client/entry_points.h"
#include "generated/vk/extensions.h"
#include "generated/wire/device.h"
#include "generated/wire/instance.h"
#include "generated/wire/memory.h"
#include "runtime/vk/chain.h"

namespace vesper::client {
namespace {

// The question and room for its answer. `use` asks it, now or ahead: the same bytes either way.
template <typename Use>
auto WithExtensions(PhysicalDevice* device, std::vector<VkExtensionProperties>* extensions, uint32_t* count, Use use) {
  *count = limits::kMaxExtensions;
  extensions->resize(*count);
  wire::EnumerateDeviceExtensionPropertiesArgs args{};
  args.physicalDevice = ToHandle<VkPhysicalDevice>(device);
  args.pPropertyCount = count;
  args.pProperties = extensions->data();
  return use(Command::kEnumerateDeviceExtensionProperties, args);
}

VkResult FetchExtensions(PhysicalDevice* device) noexcept {
  try {
    uint32_t count = 0;
    return WithExtensions(device, &device->extensions, &count, [&](Command command, auto& args) {
      Call call(device, command);
      const VkResult result = call.AskCached(&args) ? args.result : call.failure();
      device->extensions.resize(result < 0 ? 0 : count);
      if (result >= 0) KeepOffered(&device->extensions, true);
      return result;
    });
  } catch (const std::bad_alloc&) {
    device->extensions.clear();
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
}

void AskForExtensions(PhysicalDevice* device, const std::shared_ptr<Trip>& trip) {
  uint32_t count = 0;
  std::vector<VkExtensionProperties> room;
  WithExtensions(device, &room, &count,
                 [&](Command command, auto& args) { device->session->AskAhead(trip, command, &args); });
}

}  // namespace

VkResult DeviceExtensions(PhysicalDevice* device, const std::vector<VkExtensionProperties>** extensions) {
  // Nothing may be thrown through call_once(): the C library between cannot unwind when memory is exhausted.
  std::call_once(device->fetch_extensions, [device] { device->extensions_result = FetchExtensions(device); });
  *extensions = &device->extensions;
  return device->extensions_result;
}

void KeepOffered(std::vector<VkExtensionProperties>* extensions, bool device) {
  std::erase_if(*extensions, [](const VkExtensionProperties& extension) {
    return SideOf(extension.extensionName) != ExtensionSide::kRemote;
  });
  for (const Extension& known : Extensions()) {
    if (known.side != ExtensionSide::kLocal || known.device != device) continue;
    VkExtensionProperties own{};
    std::strncpy(own.extensionName, known.name, sizeof(own.extensionName) - 1);
    own.specVersion = known.revision;
    extensions->push_back(own);
  }
}

bool Contains(const std::vector<VkExtensionProperties>& extensions, const char* name) {
  return std::any_of(extensions.begin(), extensions.end(), [name](const VkExtensionProperties& extension) {
    return std::strcmp(extension.extensionName, name) == 0;
  });
}

bool Contains(const std::vector<std::string>& extensions, const char* name) {
  return std::find(extensions.begin(), extensions.end(), name) != extensions.end();
}

namespace {

// A question and room for its answer. `use` asks it, now or ahead: the same bytes either way.
template <typename Use>
auto WithInstanceExtensions(std::vector<VkExtensionProperties>* extensions, uint32_t* count, Use use) {
  *count = limits::kMaxInstanceExtensions;
  extensions->resize(*count);
  wire::EnumerateInstanceExtensionPropertiesArgs args{};
  args.pPropertyCount = count;
  args.pProperties = extensions->data();
  return use(Command::kEnumerateInstanceExtensionProperties, args);
}

template <typename Use>
auto WithInstanceVersion(uint32_t* version, Use use) {
  wire::EnumerateInstanceVersionArgs args{};
  args.pApiVersion = version;
  return use(Command::kEnumerateInstanceVersion, args);
}

template <typename Use>
auto WithQueueFamilies(PhysicalDevice* device, QueueFamilies* families, Use use) {
  wire::GetPhysicalDeviceQueueFamilyPropertiesArgs args{};
  args.physicalDevice = ToHandle<VkPhysicalDevice>(device);
  args.pQueueFamilyPropertyCount = &families->count;
  args.pQueueFamilyProperties = families->all.data();
  return use(Command::kGetPhysicalDeviceQueueFamilyProperties, args);
}

// By the struct that the chain begins with.
template <typename Use>
auto WithRoot(PhysicalDevice* device, void* root, Use use) {
  if (static_cast<VkBaseOutStructure*>(root)->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2) {
    wire::GetPhysicalDeviceProperties2Args args{};
    args.physicalDevice = ToHandle<VkPhysicalDevice>(device);
    args.pProperties = static_cast<VkPhysicalDeviceProperties2*>(root);
    return use(Command::kGetPhysicalDeviceProperties2, args);
  }
  wire::GetPhysicalDeviceFeatures2Args args{};
  args.physicalDevice = ToHandle<VkPhysicalDevice>(device);
  args.pFeatures = static_cast<VkPhysicalDeviceFeatures2*>(root);
  return use(Command::kGetPhysicalDeviceFeatures2, args);
}

// The questions of one value that nearly every program asks.
template <typename Args, typename Value>
void AskAheadFor(PhysicalDevice* device, const std::shared_ptr<Trip>& trip, Command command, Value* Args::*out) {
  Value value{};
  Args args{};
  args.physicalDevice = ToHandle<VkPhysicalDevice>(device);
  args.*out = &value;
  device->session->AskAhead(trip, command, &args);
}

void AskUsual(PhysicalDevice* device, const std::shared_ptr<Trip>& trip) {
  AskAheadFor(device, trip, Command::kGetPhysicalDeviceProperties, &wire::GetPhysicalDevicePropertiesArgs::pProperties);
  AskAheadFor(device, trip, Command::kGetPhysicalDeviceFeatures, &wire::GetPhysicalDeviceFeaturesArgs::pFeatures);
  AskAheadFor(device, trip, Command::kGetPhysicalDeviceMemoryProperties,
              &wire::GetPhysicalDeviceMemoryPropertiesArgs::pMemoryProperties);
  QueueFamilies families;
  WithQueueFamilies(device, &families,
                    [&](Command command, auto& args) { device->session->AskAhead(trip, command, &args); });
  AskForExtensions(device, trip);
}

// Filled with it before the answer: what no driver says of itself.
constexpr int kUnanswered = 0xA5;

// The core version that the server's instance and the device have in common: see Driver::CreateInstance() there.
uint32_t CoreVersion(const PhysicalDevice& device) {
  return std::min(device.api_version, std::max(device.instance->api_version, VK_API_VERSION_1_2));
}

bool MayAsk(const PhysicalDevice& device, const KnownStruct& known) {
  if (known.core_version != 0 && known.core_version <= CoreVersion(device)) return true;
  return std::any_of(known.extensions.begin(), known.extensions.end(),
                     [&](const char* name) { return Contains(device.extensions, name); });
}

template <typename Root>
void AskForChain(PhysicalDevice* device, KnownChain* chain, const std::shared_ptr<Trip>& trip, VkStructureType type) {
  constexpr size_t kWord = sizeof(uint64_t);
  const auto words = [](size_t bytes) { return (bytes + kWord - 1) / kWord; };
  const MutexLock lock(chain->mutex);
  size_t size = words(sizeof(Root));
  for (const KnownStruct& known : KnownChainOf(type)) {
    if (!MayAsk(*device, known)) continue;
    chain->members.push_back({known.type, static_cast<uint32_t>(size * kWord), known.size});
    size += words(known.size);
  }
  chain->words.assign(size, 0);
  auto* const bytes = reinterpret_cast<uint8_t*>(chain->words.data());
  std::memset(bytes, kUnanswered, size * kWord);
  auto* const root = reinterpret_cast<VkBaseOutStructure*>(bytes);
  root->sType = type;
  VkBaseOutStructure* last = root;
  for (const KnownChain::Member& member : chain->members) {
    last->pNext = reinterpret_cast<VkBaseOutStructure*>(bytes + member.offset);
    last = last->pNext;
    last->sType = static_cast<VkStructureType>(member.type);
  }
  last->pNext = nullptr;
  chain->asked = WithRoot(device, root,
                          [&](Command command, auto& args) { return device->session->AskWith(trip, command, &args); });
}

void AskForChains(PhysicalDevice* device, const std::shared_ptr<Trip>& trip) {
  if (CoreVersion(*device) < VK_API_VERSION_1_1) return;
  AskForChain<VkPhysicalDeviceProperties2>(device, &device->known_properties, trip,
                                           VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2);
  AskForChain<VkPhysicalDeviceFeatures2>(device, &device->known_features, trip,
                                         VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2);
}

// Whether the chain's answer is there, waiting for it if need be.
bool Learn(PhysicalDevice* device, KnownChain* chain) VESPER_REQUIRES(chain->mutex) {
  const std::shared_ptr<LaterReply> asked = std::exchange(chain->asked, nullptr);
  if (asked == nullptr) return chain->known;
  Session& session = *device->session;
  chain->known = WithRoot(device, chain->words.data(), [&](Command command, auto& args) {
    return session.Await(command, *asked) && session.Finish(command, *asked, &args);
  });
  return chain->known;
}

const KnownChain::Member* Find(const KnownChain& chain, VkStructureType type) VESPER_REQUIRES(chain.mutex) {
  const auto found =
      std::lower_bound(chain.members.begin(), chain.members.end(), static_cast<int32_t>(type),
                       [](const KnownChain::Member& member, int32_t wanted) { return member.type < wanted; });
  return found != chain.members.end() && found->type == type ? &*found : nullptr;
}

bool IsAnswered(const uint8_t* begin, const uint8_t* end) {
  return std::any_of(begin, end, [](uint8_t byte) { return byte != kUnanswered; });
}

}  // namespace

void AskAboutInstances(Session& session) {
  const auto trip = std::make_shared<Trip>();
  const auto ask = [&](Command command, auto& args) { session.AskAhead(trip, command, &args); };
  std::vector<VkExtensionProperties> extensions;
  uint32_t count = 0, version = 0;
  WithInstanceExtensions(&extensions, &count, ask);
  WithInstanceVersion(&version, ask);
  session.connection().Flush();
}

VkResult InstanceExtensions(Session& session, std::vector<VkExtensionProperties>* extensions) {
  uint32_t count = 0;
  return WithInstanceExtensions(extensions, &count, [&](Command command, auto& args) {
    Call call(session, command);
    if (!call.AskCached(&args)) {
      extensions->clear();
      return call.failure();
    }
    extensions->resize(count);
    KeepOffered(extensions, false);
    return args.result;
  });
}

uint32_t InstanceVersion(Session& session) {
  uint32_t version = 0;
  return WithInstanceVersion(&version, [&](Command command, auto& args) {
    Call call(session, command);
    return call.AskCached(&args) ? std::min(version, kRegistryApiVersion) : 0;
  });
}

VkResult PhysicalDevicesAhead::Ask(Instance* instance, const std::shared_ptr<Trip>& trip) {
  Session& session = *instance->session;
  std::array<uint64_t, limits::kMaxPhysicalDevices> ids;
  if (!session.ids().Mint(HandleType::kPhysicalDevice, ids)) return VK_ERROR_OUT_OF_HOST_MEMORY;
  std::array<VkPhysicalDevice, limits::kMaxPhysicalDevices> handles;
  for (uint32_t i = 0; i < limits::kMaxPhysicalDevices; ++i) {
    devices_.push_back(std::make_unique<PhysicalDevice>(instance, ids[i]));
    handles[i] = ToHandle<VkPhysicalDevice>(devices_.back().get());
  }
  uint32_t count = limits::kMaxPhysicalDevices;
  wire::EnumeratePhysicalDevicesArgs args{};
  args.instance = ToHandle<VkInstance>(instance);
  args.pPhysicalDeviceCount = &count;
  args.pPhysicalDevices = handles.data();
  listed_ = session.AskWith(trip, Command::kEnumeratePhysicalDevices, &args);
  AskUsual(devices_.front().get(), trip);
  return listed_ == nullptr ? VK_ERROR_INITIALIZATION_FAILED : VK_SUCCESS;
}

VkResult PhysicalDevicesAhead::Fetch(Instance* instance) {
  Session& session = *instance->session;
  std::array<VkPhysicalDevice, limits::kMaxPhysicalDevices> handles;
  uint32_t count = limits::kMaxPhysicalDevices;
  wire::EnumeratePhysicalDevicesArgs args{};
  args.pPhysicalDeviceCount = &count;
  args.pPhysicalDevices = handles.data();
  if (!session.Await(Command::kEnumeratePhysicalDevices, *listed_) ||
      !session.Finish(Command::kEnumeratePhysicalDevices, *listed_, &args)) {
    return VK_ERROR_INITIALIZATION_FAILED;
  }
  if (args.result < 0) return args.result;
  count = std::min(count, limits::kMaxPhysicalDevices);
  for (uint32_t i = count; i < limits::kMaxPhysicalDevices; ++i) session.ids().Forget(devices_[i]->header.id);
  devices_.resize(count);
  instance->physical_devices = std::move(devices_);
  const auto others = std::make_shared<Trip>();
  for (uint32_t i = 1; i < count; ++i) AskUsual(instance->physical_devices[i].get(), others);
  session.connection().Flush();
  const auto chains = std::make_shared<Trip>();
  for (const auto& device : instance->physical_devices) {
    VkPhysicalDeviceProperties properties{};
    entry::GetPhysicalDeviceProperties(ToHandle<VkPhysicalDevice>(device.get()), &properties);
    device->api_version = std::min(properties.apiVersion, kRegistryApiVersion);
    // A physical device without its version or its extensions is none that a loader can use.
    const std::vector<VkExtensionProperties>* extensions = nullptr;
    const VkResult listed = DeviceExtensions(device.get(), &extensions);
    if (listed < 0) return listed;
    if (device->api_version == 0) return VK_ERROR_INITIALIZATION_FAILED;
    AskForChains(device.get(), chains);
  }
  session.connection().Flush();
  return session.lost() ? VK_ERROR_INITIALIZATION_FAILED : VK_SUCCESS;
}

bool AnswerFromMemory(PhysicalDevice* device, KnownChain* chain, void* root) noexcept {
  if (device->session->abandoned()) return false;
  const MutexLock lock(chain->mutex);
  if (!Learn(device, chain)) return false;
  auto* const asked = static_cast<VkBaseOutStructure*>(root);
  for (const VkBaseOutStructure* each = asked->pNext; each != nullptr; each = each->pNext) {
    if (Find(*chain, each->sType) == nullptr) return false;
  }
  constexpr size_t kHeader = sizeof(VkBaseOutStructure);
  const auto* const bytes = reinterpret_cast<const uint8_t*>(chain->words.data());
  const size_t root_size = asked->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2
                               ? sizeof(VkPhysicalDeviceProperties2)
                               : sizeof(VkPhysicalDeviceFeatures2);
  std::memcpy(asked + 1, bytes + kHeader, root_size - kHeader);
  for (VkBaseOutStructure* each = asked->pNext; each != nullptr; each = each->pNext) {
    const KnownChain::Member& member = *Find(*chain, each->sType);
    const uint8_t* const begin = bytes + member.offset + kHeader;
    const uint8_t* const end = bytes + member.offset + member.size;
    if (IsAnswered(begin, end)) std::copy(begin, end, reinterpret_cast<uint8_t*>(each + 1));
  }
  return true;
}

void GetQueueFamilies(PhysicalDevice* device, QueueFamilies* families) noexcept {
  WithQueueFamilies(device, families, [&](Command command, auto& args) {
    Call call(device, command);
    if (!call.AskCached(&args)) families->count = 0;
    return true;
  });
}
}  // namespace vesper::client
