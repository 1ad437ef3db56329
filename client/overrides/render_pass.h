// What the client remembers of render passes: which kinds of attachments each subpass has, because that decides which
// pointers of a graphics pipeline's create-info are valid.
#pragma once

#include <vulkan/vulkan.h>

#include <vector>

#include "client/base/ids.h"

namespace vesper::client {

struct SubpassUse {
  bool color = false;
  bool depth_stencil = false;
};

// Never changes after creation.
struct RenderPassState : ObjectState {
  using ObjectState::ObjectState;
  std::vector<SubpassUse> subpasses;
};

}  // namespace vesper::client
