// Instances: what is offered before there is one, and their making by the server's rules.

#include <span>
#include <vector>

#include "generated/server/overrides.h"
#include "server/base/log.h"
#include "server/overrides/listing.h"
#include "server/session/session.h"

namespace vesper::server::overrides {

void EnumerateInstanceVersion(Session& session, const vk::DispatchTable&, wire::EnumerateInstanceVersionArgs& v) {
  *v.pApiVersion = session.driver().api_version();
  v.result = VK_SUCCESS;
}

void EnumerateInstanceExtensionProperties(Session& session, const vk::DispatchTable& driver,
                                          wire::EnumerateInstanceExtensionPropertiesArgs& v) {
  uint32_t count = 0;
  v.result = driver.EnumerateInstanceExtensionProperties(nullptr, &count, nullptr);
  if (v.result < 0) return;
  std::vector<VkExtensionProperties> extensions(count);
  v.result = driver.EnumerateInstanceExtensionProperties(nullptr, &count, extensions.data());
  if (v.result < 0) return;
  extensions.resize(count);
  extensions = Offered(std::move(extensions), session.same_kernel());
  v.result = GiveList<VkExtensionProperties>(extensions, v.pPropertyCount, v.pProperties);
}

void CreateInstance(Session& session, const vk::DispatchTable&, wire::CreateInstanceArgs& v) {
  std::unique_ptr<Instance> instance;
  VkInstanceCreateInfo info = *v.pCreateInfo;
  info.pNext = session.debug_messages().Attach(info.pNext);
  v.result = session.driver().CreateInstance(info, &instance);
  session.debug_messages().Begin(instance.get());
  if (v.result != VK_SUCCESS) return;
  *v.pInstance = instance->handle;
  const std::span<const char* const> names(v.pCreateInfo->ppEnabledExtensionNames,
                                           v.pCreateInfo->enabledExtensionCount);
  instance->enabled = NeedsMet(names, {});
  instance->context.enabled = InstanceNeedsMet(names, session.same_kernel());
  Instance* added = session.AddInstance(std::move(instance));
  session.KeepForRest(added, v.pCreateInfo);
  session.handles().set_new_context(&added->context);
}

void DestroyInstance(Session& session, const vk::DispatchTable&, wire::DestroyInstanceArgs& v) {
  if (v.instance == VK_NULL_HANDLE) return;
  Instance& instance = session.instance();
  session.DrainJobs();
  for (Device* device : session.DevicesOf(&instance)) {
    Log(LogLevel::kWarning, "an instance is destroyed before its device");
    session.EndDevice(device);
  }
  session.debug_messages().End(&instance);
  session.driver().DestroyInstance(&instance);
  session.debug_messages().Forget(v.instance);
  session.RemoveInstance(v.instance);
}

}  // namespace vesper::server::overrides
