#include "server/device/needs.h"

#include <algorithm>
#include <cstring>

#include "runtime/wire/handle_mapper.h"

namespace vesper::server {
namespace {

bool IsAmong(std::span<const char* const> names, const char* name) {
  return std::any_of(names.begin(), names.end(), [&](const char* each) { return std::strcmp(each, name) == 0; });
}

}  // namespace

NeedSet NeedsMet(std::span<const char* const> names, const NeedSet& before) {
  NeedSet met = before;
  for (size_t need = wire::kNotOffered + 1; need < kNeedCount; ++need) {
    for (const char* extension : ExtensionsNeeded(need)) met[need] = met[need] || IsAmong(names, extension);
  }
  met[wire::kNeedsNothing] = true;
  return met;
}

NeedSet InstanceNeedsMet(std::span<const char* const> names, bool same_kernel) {
  NeedSet met = NeedsMet(names, {});
  for (size_t need = wire::kNotOffered + 1; need < kNeedCount; ++need) {
    for (const char* name : ExtensionsNeeded(need)) {
      const Extension* extension = FindExtension(name);
      if (extension != nullptr && extension->device && (same_kernel || !extension->same_kernel)) met[need] = true;
    }
  }
  return met;
}

}  // namespace vesper::server
