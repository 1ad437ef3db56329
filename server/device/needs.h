// Which structs and commands of extensions a client may use: what it enabled brings them.
#pragma once

#include <bitset>
#include <span>

#include "generated/vk/extensions.h"

namespace vesper::server {

// By need (generated/vk/extensions.h).
using NeedSet = std::bitset<kNeedCount>;

// What a client that enabled `names` may use of them; `before` is what it may use already.
NeedSet NeedsMet(std::span<const char* const> names, const NeedSet& before);
// Of an instance and its physical devices: what device extensions bring may be asked for before any is enabled, but not by
// a client that is not offered them.
NeedSet InstanceNeedsMet(std::span<const char* const> names, bool same_kernel);

}  // namespace vesper::server
