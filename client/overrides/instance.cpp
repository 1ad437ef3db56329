// Instances: each has a session of its own; questions asked before one exists go to any session.
#include "generated/wire/instance.h"

#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "client/base/log.h"
#include "client/base/thread.h"
#include "client/icd/proc_addr.h"
#include "client/objects/object.h"
#include "client/overrides/guard.h"
#include "client/session/call.h"
#include "client/session/delivery.h"
#include "client/session/physical_device.h"
#include "client/session/session.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"
#include "generated/vk/extensions.h"
#include "runtime/vk/chain.h"

namespace vesper::client {
namespace {

// The masks of an instance's own messengers, each form's together: the server's messages go to all that want them.
class ChainOfMessengers {
 public:
  explicit ChainOfMessengers(const void* chain) {
    for (const VkBaseInStructure& member : ChainOf(chain)) {
      if (member.sType == VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT) {
        const auto& utils = As<VkDebugUtilsMessengerCreateInfoEXT>(member);
        utils_.messageSeverity |= utils.messageSeverity;
        utils_.messageType |= utils.messageType;
        utils_.sType = member.sType;
      } else if (member.sType == VK_STRUCTURE_TYPE_DEBUG_REPORT_CALLBACK_CREATE_INFO_EXT) {
        report_.flags |= As<VkDebugReportCallbackCreateInfoEXT>(member).flags;
        report_.sType = member.sType;
      }
    }
    if (report_.sType != VkStructureType{}) first_ = &report_;
    if (utils_.sType == VkStructureType{}) return;
    utils_.pNext = std::exchange(first_, &utils_);
  }
  const void* first() const { return first_; }

 private:
  VkDebugUtilsMessengerCreateInfoEXT utils_{};
  VkDebugReportCallbackCreateInfoEXT report_{};
  const void* first_ = nullptr;
};

// Chains of an instance speak to the loader, to layers, and to the application's own callbacks: of them travels what the
// callbacks want. What programs ask next leaves with it.
VkResult AskCreate(Instance* instance, const VkInstanceCreateInfo& asked, PhysicalDevicesAhead* ahead) {
  std::vector<VkExtensionProperties> offered;
  const VkResult listed = InstanceExtensions(*instance->session, &offered);
  if (listed < 0) return listed;
  std::vector<const char*> forwarded;
  for (uint32_t i = 0; i < asked.enabledExtensionCount; ++i) {
    const char* name = asked.ppEnabledExtensionNames[i];
    if (!Contains(offered, name)) return VK_ERROR_EXTENSION_NOT_PRESENT;
    instance->extensions.emplace_back(name);
    if (SideOf(name) == ExtensionSide::kRemote) forwarded.push_back(name);
  }
  VkInstanceCreateInfo info = asked;
  const ChainOfMessengers messengers(asked.pNext);
  info.pNext = messengers.first();
  info.enabledLayerCount = 0;
  info.ppEnabledLayerNames = nullptr;
  info.enabledExtensionCount = static_cast<uint32_t>(forwarded.size());
  info.ppEnabledExtensionNames = forwarded.data();
  auto* handle = ToHandle<VkInstance>(instance);
  wire::CreateInstanceArgs args{};
  args.pCreateInfo = &info;
  args.pInstance = &handle;
  Session& session = *instance->session;
  const auto trip = std::make_shared<Trip>();
  const std::shared_ptr<LaterReply> made = session.AskWith(trip, Command::kCreateInstance, &args);
  if (made == nullptr) return VK_ERROR_INITIALIZATION_FAILED;
  const VkResult listing = ahead->Ask(instance, trip);
  if (listing < 0) return listing;
  if (!session.Await(Command::kCreateInstance, *made)) return VK_ERROR_INITIALIZATION_FAILED;
  const auto refused = static_cast<VkResult>(made->reply.header.result);
  if (!session.Finish(Command::kCreateInstance, *made, &args))
    return refused < 0 ? refused : VK_ERROR_INITIALIZATION_FAILED;
  return args.result;
}

// An instance of one server, made by whichever thread.
struct Made {
  std::unique_ptr<Instance> instance;
  VkResult result = VK_ERROR_INITIALIZATION_FAILED;

  void Make(const std::shared_ptr<Session>& session, const VkInstanceCreateInfo& asked) {
    uint64_t id = kNullObject;
    if (!session->ids().Mint(HandleType::kInstance, {&id, 1})) return;
    auto making = std::make_unique<Instance>(session.get(), id);
    making->keeps_session = session;
    if (asked.pApplicationInfo != nullptr && asked.pApplicationInfo->apiVersion != 0) {
      making->api_version = asked.pApplicationInfo->apiVersion;
    }
    session->messages().AddChain(asked.pNext);
    PhysicalDevicesAhead ahead;
    result = AskCreate(making.get(), asked, &ahead);
    if (result < 0) return;
    making->server_version = InstanceVersion(*session);
    result = making->server_version == 0 ? VK_ERROR_INITIALIZATION_FAILED : ahead.Fetch(making.get());
    if (result < 0) return;
    session->SetInstance(making.get());
    instance = std::move(making);
  }
};

// At the same time, this thread the first. May throw std::bad_alloc.
void MakeAll(const std::vector<ServerSession>& sessions, const VkInstanceCreateInfo& asked, std::vector<Made>* all) {
  all->resize(sessions.size());
  const auto make = [&](size_t i) {
    (*all)[i].result = Guarded([&] {
      (*all)[i].Make(sessions[i].session, asked);
      return (*all)[i].result;
    });
  };
  std::vector<std::thread> threads;
  threads.reserve(sessions.size());
  for (size_t i = 1; i < sessions.size(); ++i) {
    try {
      threads.push_back(StartWithoutSignals([&] { return std::thread(make, i); }));
    } catch (const std::exception&) {  // no thread is to be had
      make(i);
    }
  }
  make(0);
  for (std::thread& thread : threads) thread.join();
}

VkResult MakeInstance(const VkInstanceCreateInfo& asked, VkInstance* made) {
  const std::vector<ServerSession> sessions = TakeSessions();
  if (sessions.empty()) return VK_ERROR_INCOMPATIBLE_DRIVER;
  std::vector<Made> all;
  MakeAll(sessions, asked, &all);
  for (const ServerSession& each : sessions) Deliver(*each.session);
  std::unique_ptr<Instance> first;
  for (size_t i = 0; i < all.size(); ++i) {
    std::unique_ptr<Instance>& each = all[i].instance;
    if (each == nullptr && all.size() > 1) {
      Log(LogLevel::kError, "%s makes no instance (%d): its GPUs are left out", sessions[i].name.c_str(),
          all[i].result);
    } else if (first == nullptr) {
      first = std::move(each);
    } else {
      each->first = first.get();
      first->others.push_back(std::move(each));
    }
  }
  if (first == nullptr) return all.front().result;
  *made = ToHandle<VkInstance>(first.release());
  return VK_SUCCESS;
}

void Destroy(std::unique_ptr<Instance> instance) {
  const std::shared_ptr<Session> session = instance->keeps_session;
  wire::DestroyInstanceArgs args{};
  args.instance = ToHandle<VkInstance>(instance.get());
  Call call(args.instance, Command::kDestroyInstance);
  call.Ask(&args);
  Deliver(*session);
  session->SetInstance(nullptr);
}

}  // namespace

namespace overrides {

VKAPI_ATTR VkResult VKAPI_CALL EnumerateInstanceVersion(uint32_t* pApiVersion) {
  const std::shared_ptr<Session> session = AnySession();
  const uint32_t version = session == nullptr ? 0 : InstanceVersion(*session);
  // Without a server this answers for the library; vkCreateInstance then says that there is none.
  *pApiVersion = version == 0 ? kRegistryApiVersion : version;
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL EnumerateInstanceExtensionProperties(const char* pLayerName, uint32_t* pPropertyCount,
                                                                    VkExtensionProperties* pProperties) {
  if (pLayerName != nullptr) return VK_ERROR_LAYER_NOT_PRESENT;
  return Guarded([&] {
    std::vector<VkExtensionProperties> extensions;
    const std::shared_ptr<Session> session = AnySession();
    if (session != nullptr) InstanceExtensions(*session, &extensions);
    return HandOut<VkExtensionProperties>(extensions, pPropertyCount, pProperties);
  });
}

VKAPI_ATTR VkResult VKAPI_CALL EnumerateInstanceLayerProperties(uint32_t* pPropertyCount, VkLayerProperties*) {
  *pPropertyCount = 0;
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL CreateInstance(const VkInstanceCreateInfo* pCreateInfo, const VkAllocationCallbacks*,
                                              VkInstance* pInstance) {
  *pInstance = VK_NULL_HANDLE;
  return Guarded([&] { return MakeInstance(*pCreateInfo, pInstance); });
}

VKAPI_ATTR void VKAPI_CALL DestroyInstance(VkInstance instance, const VkAllocationCallbacks*) {
  if (instance == VK_NULL_HANDLE) return;
  std::unique_ptr<Instance> object(FromHandle<Instance>(instance));
  for (auto& other : object->others) Destroy(std::move(other));
  Destroy(std::move(object));
  WriteStatistics();
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL GetInstanceProcAddr(VkInstance instance, const char* pName) {
  return InstanceProcAddr(instance, pName);
}

}  // namespace overrides
}  // namespace vesper::client
