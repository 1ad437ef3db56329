// What the server keeps of objects to compare commands with (policy `learn` and `check`): sizes and counts, which a driver
// takes on trust. Kept in the handle table's entry, read while it is locked.
#pragma once

#include <vulkan/vulkan.h>

#include <memory>
#include <vector>

#include "generated/wire/all.h"
#include "runtime/handle_table.h"

namespace vesper::vk {
struct DispatchTable;
}

namespace vesper::server {

class Session;

// Of every kind of object; the policy names these two.
struct Facts : ObjectFacts {
  static constexpr uint64_t kUnlimited = UINT64_MAX;

  uint64_t size = kUnlimited;   // in bytes: of buffers, memory, acceleration structures
  uint64_t count = kUnlimited;  // of queries in a pool, sets in a pipeline layout, subpasses in a render pass
};

struct MemoryFacts : Facts {
  uint32_t type = 0;
};

struct QueryPoolFacts : Facts {
  uint32_t values = 1;  // of a query, without availability
};

struct ImageFacts : Facts {
  VkFormat format = VK_FORMAT_UNDEFINED;
  VkExtent3D extent{};
  uint32_t levels = 0;
  uint32_t layers = 0;
};

// Of image views and framebuffers: what can be rendered to.
struct AreaFacts : Facts {
  VkExtent2D extent{};
};

struct KnownBindings {
  struct Binding {
    uint32_t number;
    VkDescriptorType type;
    uint32_t count;
  };
  std::vector<Binding> bindings;  // by number
  bool variable = false;          // the last one's count is a set's own
  uint32_t dynamic_offsets = 0;
};

struct SetLayoutFacts : Facts {
  std::shared_ptr<const KnownBindings> layout;
};

struct DescriptorSetFacts : Facts {
  std::shared_ptr<const KnownBindings> layout;
  uint32_t variable_count = 0;
};

struct PipelineLayoutFacts : Facts {
  std::vector<std::shared_ptr<const KnownBindings>> sets;  // null: not known
};

struct RenderPassFacts : Facts {
  uint32_t attachments = 0;
  uint32_t clears = 0;  // one more than the last attachment that a clear value is read for
};

// Changed by the thread that records, while the table is locked.
struct CommandBufferFacts : Facts {
  enum Bound : uint32_t { kGraphics = 1, kCompute = 2, kRayTracing = 4 };
  uint32_t bound = 0;
};

// Called after the driver made the objects; each keeps what it says of them.
void Learn(Session& session, const vk::DispatchTable& driver, const wire::AllocateMemoryArgs& v);
void Learn(Session& session, const vk::DispatchTable& driver, const wire::CreateBufferArgs& v);
void Learn(Session& session, const vk::DispatchTable& driver, const wire::CreateAccelerationStructureKHRArgs& v);
void Learn(Session& session, const vk::DispatchTable& driver, const wire::CreateImageArgs& v);
void Learn(Session& session, const vk::DispatchTable& driver, const wire::CreateImageViewArgs& v);
void Learn(Session& session, const vk::DispatchTable& driver, const wire::CreateFramebufferArgs& v);
void Learn(Session& session, const vk::DispatchTable& driver, const wire::CreateQueryPoolArgs& v);
void Learn(Session& session, const vk::DispatchTable& driver, const wire::CreateDescriptorSetLayoutArgs& v);
void Learn(Session& session, const vk::DispatchTable& driver, const wire::CreatePipelineLayoutArgs& v);
void Learn(Session& session, const vk::DispatchTable& driver, const wire::AllocateDescriptorSetsArgs& v);
void Learn(Session& session, const vk::DispatchTable& driver, const wire::CreateRenderPassArgs& v);
void Learn(Session& session, const vk::DispatchTable& driver, const wire::CreateRenderPass2Args& v);
void Learn(Session& session, const vk::DispatchTable& driver, const wire::AllocateCommandBuffersArgs& v);

}  // namespace vesper::server
