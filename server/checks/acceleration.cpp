// What acceleration structures are built from. The addresses of vertices, instances and scratch memory are the GPU's: what lies there
// nobody but the device knows (docs/security.md).
#include <vector>

#include "server/checks/checks.h"

namespace vesper::server::checks {
namespace {

constexpr const char* kGeometries = "pGeometries ppGeometries";

const VkAccelerationStructureGeometryKHR& GeometryOf(const VkAccelerationStructureBuildGeometryInfoKHR& info,
                                                     uint32_t i) {
  return info.pGeometries != nullptr ? info.pGeometries[i] : *info.ppGeometries[i];
}

// One of the arrays is there, and what is in it can be in such a structure: drivers go by the first of them.
bool CheckGeometries(Checker& c, const VkAccelerationStructureBuildGeometryInfoKHR& info) {
  if (info.geometryCount != 0 && info.pGeometries == nullptr && info.ppGeometries == nullptr) {
    c.Fail(kGeometries, "missing");
    return false;
  }
  const bool top = info.type == VK_ACCELERATION_STRUCTURE_TYPE_TOP_LEVEL_KHR;
  if (top && info.geometryCount != 1) c.Fail("geometryCount", "not one, of instances");
  for (uint32_t i = 0; i < info.geometryCount; ++i) {
    const VkGeometryTypeKHR type = GeometryOf(info, i).geometryType;
    if (info.type != VK_ACCELERATION_STRUCTURE_TYPE_GENERIC_KHR && (type == VK_GEOMETRY_TYPE_INSTANCES_KHR) != top) {
      c.Fail("geometryType", "instances are of the top level, and nothing else is");
    } else if (type != GeometryOf(info, 0).geometryType) {
      c.Fail("geometryType", "of several types");
    }
  }
  return !c.failed();
}

// What is built has room where it goes. An update writes what is there already, which may have been compacted.
void CheckRoom(Checker& c, const VkAccelerationStructureBuildGeometryInfoKHR& info, const uint32_t* primitives) {
  if (info.dstAccelerationStructure == VK_NULL_HANDLE) return c.LeaveOut("an acceleration structure does not exist");
  const bool updates = info.mode == VK_BUILD_ACCELERATION_STRUCTURE_MODE_UPDATE_KHR;
  if (updates && info.srcAccelerationStructure == VK_NULL_HANDLE) {
    return c.LeaveOut("an acceleration structure does not exist");
  }
  if (updates || c.driver() == nullptr || c.driver()->GetAccelerationStructureBuildSizesKHR == nullptr) return;
  const Device* device = c.own_device();
  VkAccelerationStructureBuildSizesInfoKHR needed{};
  needed.sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_BUILD_SIZES_INFO_KHR;
  c.driver()->GetAccelerationStructureBuildSizesKHR(device == nullptr ? VK_NULL_HANDLE : device->handle(),
                                                    VK_ACCELERATION_STRUCTURE_BUILD_TYPE_DEVICE_KHR, &info, primitives,
                                                    &needed);
  c.Span("dstAccelerationStructure", 0, needed.accelerationStructureSize,
         c.Of(HandleType::kAccelerationStructureKHR, info.dstAccelerationStructure).size);
}

}  // namespace

void Builds(Checker& c, const wire::CmdBuildAccelerationStructuresKHRArgs& v) {
  std::vector<uint32_t> primitives;
  for (uint32_t i = 0; i < v.infoCount; ++i) {
    const VkAccelerationStructureBuildGeometryInfoKHR& info = v.pInfos[i];
    if (!CheckGeometries(c, info)) return;
    primitives.clear();
    for (uint32_t k = 0; k < info.geometryCount; ++k) primitives.push_back(v.ppBuildRangeInfos[i][k].primitiveCount);
    CheckRoom(c, info, primitives.data());
  }
}

void Builds(Checker& c, const wire::CmdBuildAccelerationStructuresIndirectKHRArgs& v) {
  for (uint32_t i = 0; i < v.infoCount; ++i) {
    if (!CheckGeometries(c, v.pInfos[i])) return;
    CheckRoom(c, v.pInfos[i], v.ppMaxPrimitiveCounts[i]);
  }
}

void Builds(Checker& c, const wire::GetAccelerationStructureBuildSizesKHRArgs& v) {
  CheckGeometries(c, *v.pBuildInfo);
  if (v.pBuildInfo->geometryCount != 0 && v.pMaxPrimitiveCounts == nullptr) c.Fail("pMaxPrimitiveCounts", "missing");
}

}  // namespace vesper::server::checks
