// Every member of the core feature structs by name. Written out, so that a member that a driver's
// proxy loses or swaps shows up as a changed line.
#include "tests/integration/device_report.h"

namespace vesper::test::report {

void Print(const VkPhysicalDeviceFeatures& s) {
  Line("robustBufferAccess", s.robustBufferAccess);
  Line("fullDrawIndexUint32", s.fullDrawIndexUint32);
  Line("imageCubeArray", s.imageCubeArray);
  Line("independentBlend", s.independentBlend);
  Line("geometryShader", s.geometryShader);
  Line("tessellationShader", s.tessellationShader);
  Line("sampleRateShading", s.sampleRateShading);
  Line("dualSrcBlend", s.dualSrcBlend);
  Line("logicOp", s.logicOp);
  Line("multiDrawIndirect", s.multiDrawIndirect);
  Line("drawIndirectFirstInstance", s.drawIndirectFirstInstance);
  Line("depthClamp", s.depthClamp);
  Line("depthBiasClamp", s.depthBiasClamp);
  Line("fillModeNonSolid", s.fillModeNonSolid);
  Line("depthBounds", s.depthBounds);
  Line("wideLines", s.wideLines);
  Line("largePoints", s.largePoints);
  Line("alphaToOne", s.alphaToOne);
  Line("multiViewport", s.multiViewport);
  Line("samplerAnisotropy", s.samplerAnisotropy);
  Line("textureCompressionETC2", s.textureCompressionETC2);
  Line("textureCompressionASTC_LDR", s.textureCompressionASTC_LDR);
  Line("textureCompressionBC", s.textureCompressionBC);
  Line("occlusionQueryPrecise", s.occlusionQueryPrecise);
  Line("pipelineStatisticsQuery", s.pipelineStatisticsQuery);
  Line("vertexPipelineStoresAndAtomics", s.vertexPipelineStoresAndAtomics);
  Line("fragmentStoresAndAtomics", s.fragmentStoresAndAtomics);
  Line("shaderTessellationAndGeometryPointSize", s.shaderTessellationAndGeometryPointSize);
  Line("shaderImageGatherExtended", s.shaderImageGatherExtended);
  Line("shaderStorageImageExtendedFormats", s.shaderStorageImageExtendedFormats);
  Line("shaderStorageImageMultisample", s.shaderStorageImageMultisample);
  Line("shaderStorageImageReadWithoutFormat", s.shaderStorageImageReadWithoutFormat);
  Line("shaderStorageImageWriteWithoutFormat", s.shaderStorageImageWriteWithoutFormat);
  Line("shaderUniformBufferArrayDynamicIndexing", s.shaderUniformBufferArrayDynamicIndexing);
  Line("shaderSampledImageArrayDynamicIndexing", s.shaderSampledImageArrayDynamicIndexing);
  Line("shaderStorageBufferArrayDynamicIndexing", s.shaderStorageBufferArrayDynamicIndexing);
  Line("shaderStorageImageArrayDynamicIndexing", s.shaderStorageImageArrayDynamicIndexing);
  Line("shaderClipDistance", s.shaderClipDistance);
  Line("shaderCullDistance", s.shaderCullDistance);
  Line("shaderFloat64", s.shaderFloat64);
  Line("shaderInt64", s.shaderInt64);
  Line("shaderInt16", s.shaderInt16);
  Line("shaderResourceResidency", s.shaderResourceResidency);
  Line("shaderResourceMinLod", s.shaderResourceMinLod);
  Line("sparseBinding", s.sparseBinding);
  Line("sparseResidencyBuffer", s.sparseResidencyBuffer);
  Line("sparseResidencyImage2D", s.sparseResidencyImage2D);
  Line("sparseResidencyImage3D", s.sparseResidencyImage3D);
  Line("sparseResidency2Samples", s.sparseResidency2Samples);
  Line("sparseResidency4Samples", s.sparseResidency4Samples);
  Line("sparseResidency8Samples", s.sparseResidency8Samples);
  Line("sparseResidency16Samples", s.sparseResidency16Samples);
  Line("sparseResidencyAliased", s.sparseResidencyAliased);
  Line("variableMultisampleRate", s.variableMultisampleRate);
  Line("inheritedQueries", s.inheritedQueries);
}

void Print(const VkPhysicalDeviceVulkan11Features& s) {
  Line("storageBuffer16BitAccess", s.storageBuffer16BitAccess);
  Line("uniformAndStorageBuffer16BitAccess", s.uniformAndStorageBuffer16BitAccess);
  Line("storagePushConstant16", s.storagePushConstant16);
  Line("storageInputOutput16", s.storageInputOutput16);
  Line("multiview", s.multiview);
  Line("multiviewGeometryShader", s.multiviewGeometryShader);
  Line("multiviewTessellationShader", s.multiviewTessellationShader);
  Line("variablePointersStorageBuffer", s.variablePointersStorageBuffer);
  Line("variablePointers", s.variablePointers);
  Line("protectedMemory", s.protectedMemory);
  Line("samplerYcbcrConversion", s.samplerYcbcrConversion);
  Line("shaderDrawParameters", s.shaderDrawParameters);
}

void Print(const VkPhysicalDeviceVulkan12Features& s) {
  Line("samplerMirrorClampToEdge", s.samplerMirrorClampToEdge);
  Line("drawIndirectCount", s.drawIndirectCount);
  Line("storageBuffer8BitAccess", s.storageBuffer8BitAccess);
  Line("uniformAndStorageBuffer8BitAccess", s.uniformAndStorageBuffer8BitAccess);
  Line("storagePushConstant8", s.storagePushConstant8);
  Line("shaderBufferInt64Atomics", s.shaderBufferInt64Atomics);
  Line("shaderSharedInt64Atomics", s.shaderSharedInt64Atomics);
  Line("shaderFloat16", s.shaderFloat16);
  Line("shaderInt8", s.shaderInt8);
  Line("descriptorIndexing", s.descriptorIndexing);
  Line("shaderInputAttachmentArrayDynamicIndexing", s.shaderInputAttachmentArrayDynamicIndexing);
  Line("shaderUniformTexelBufferArrayDynamicIndexing", s.shaderUniformTexelBufferArrayDynamicIndexing);
  Line("shaderStorageTexelBufferArrayDynamicIndexing", s.shaderStorageTexelBufferArrayDynamicIndexing);
  Line("shaderUniformBufferArrayNonUniformIndexing", s.shaderUniformBufferArrayNonUniformIndexing);
  Line("shaderSampledImageArrayNonUniformIndexing", s.shaderSampledImageArrayNonUniformIndexing);
  Line("shaderStorageBufferArrayNonUniformIndexing", s.shaderStorageBufferArrayNonUniformIndexing);
  Line("shaderStorageImageArrayNonUniformIndexing", s.shaderStorageImageArrayNonUniformIndexing);
  Line("shaderInputAttachmentArrayNonUniformIndexing", s.shaderInputAttachmentArrayNonUniformIndexing);
  Line("shaderUniformTexelBufferArrayNonUniformIndexing", s.shaderUniformTexelBufferArrayNonUniformIndexing);
  Line("shaderStorageTexelBufferArrayNonUniformIndexing", s.shaderStorageTexelBufferArrayNonUniformIndexing);
  Line("descriptorBindingUniformBufferUpdateAfterBind", s.descriptorBindingUniformBufferUpdateAfterBind);
  Line("descriptorBindingSampledImageUpdateAfterBind", s.descriptorBindingSampledImageUpdateAfterBind);
  Line("descriptorBindingStorageImageUpdateAfterBind", s.descriptorBindingStorageImageUpdateAfterBind);
  Line("descriptorBindingStorageBufferUpdateAfterBind", s.descriptorBindingStorageBufferUpdateAfterBind);
  Line("descriptorBindingUniformTexelBufferUpdateAfterBind", s.descriptorBindingUniformTexelBufferUpdateAfterBind);
  Line("descriptorBindingStorageTexelBufferUpdateAfterBind", s.descriptorBindingStorageTexelBufferUpdateAfterBind);
  Line("descriptorBindingUpdateUnusedWhilePending", s.descriptorBindingUpdateUnusedWhilePending);
  Line("descriptorBindingPartiallyBound", s.descriptorBindingPartiallyBound);
  Line("descriptorBindingVariableDescriptorCount", s.descriptorBindingVariableDescriptorCount);
  Line("runtimeDescriptorArray", s.runtimeDescriptorArray);
  Line("samplerFilterMinmax", s.samplerFilterMinmax);
  Line("scalarBlockLayout", s.scalarBlockLayout);
  Line("imagelessFramebuffer", s.imagelessFramebuffer);
  Line("uniformBufferStandardLayout", s.uniformBufferStandardLayout);
  Line("shaderSubgroupExtendedTypes", s.shaderSubgroupExtendedTypes);
  Line("separateDepthStencilLayouts", s.separateDepthStencilLayouts);
  Line("hostQueryReset", s.hostQueryReset);
  Line("timelineSemaphore", s.timelineSemaphore);
  Line("bufferDeviceAddress", s.bufferDeviceAddress);
  Line("bufferDeviceAddressCaptureReplay", s.bufferDeviceAddressCaptureReplay);
  Line("bufferDeviceAddressMultiDevice", s.bufferDeviceAddressMultiDevice);
  Line("vulkanMemoryModel", s.vulkanMemoryModel);
  Line("vulkanMemoryModelDeviceScope", s.vulkanMemoryModelDeviceScope);
  Line("vulkanMemoryModelAvailabilityVisibilityChains", s.vulkanMemoryModelAvailabilityVisibilityChains);
  Line("shaderOutputViewportIndex", s.shaderOutputViewportIndex);
  Line("shaderOutputLayer", s.shaderOutputLayer);
  Line("subgroupBroadcastDynamicId", s.subgroupBroadcastDynamicId);
}

void Print(const VkPhysicalDeviceVulkan13Features& s) {
  Line("robustImageAccess", s.robustImageAccess);
  Line("inlineUniformBlock", s.inlineUniformBlock);
  Line("descriptorBindingInlineUniformBlockUpdateAfterBind", s.descriptorBindingInlineUniformBlockUpdateAfterBind);
  Line("pipelineCreationCacheControl", s.pipelineCreationCacheControl);
  Line("privateData", s.privateData);
  Line("shaderDemoteToHelperInvocation", s.shaderDemoteToHelperInvocation);
  Line("shaderTerminateInvocation", s.shaderTerminateInvocation);
  Line("subgroupSizeControl", s.subgroupSizeControl);
  Line("computeFullSubgroups", s.computeFullSubgroups);
  Line("synchronization2", s.synchronization2);
  Line("textureCompressionASTC_HDR", s.textureCompressionASTC_HDR);
  Line("shaderZeroInitializeWorkgroupMemory", s.shaderZeroInitializeWorkgroupMemory);
  Line("dynamicRendering", s.dynamicRendering);
  Line("shaderIntegerDotProduct", s.shaderIntegerDotProduct);
  Line("maintenance4", s.maintenance4);
}

}  // namespace vesper::test::report
