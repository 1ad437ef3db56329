// Every limit and every member of the core property structs by name.
#include "tests/integration/device_report.h"

namespace vesper::test::report {

void Print(const VkPhysicalDeviceLimits& s) {
  Line("maxImageDimension1D", s.maxImageDimension1D);
  Line("maxImageDimension2D", s.maxImageDimension2D);
  Line("maxImageDimension3D", s.maxImageDimension3D);
  Line("maxImageDimensionCube", s.maxImageDimensionCube);
  Line("maxImageArrayLayers", s.maxImageArrayLayers);
  Line("maxTexelBufferElements", s.maxTexelBufferElements);
  Line("maxUniformBufferRange", s.maxUniformBufferRange);
  Line("maxStorageBufferRange", s.maxStorageBufferRange);
  Line("maxPushConstantsSize", s.maxPushConstantsSize);
  Line("maxMemoryAllocationCount", s.maxMemoryAllocationCount);
  Line("maxSamplerAllocationCount", s.maxSamplerAllocationCount);
  Line("bufferImageGranularity", s.bufferImageGranularity);
  Line("sparseAddressSpaceSize", s.sparseAddressSpaceSize);
  Line("maxBoundDescriptorSets", s.maxBoundDescriptorSets);
  Line("maxPerStageDescriptorSamplers", s.maxPerStageDescriptorSamplers);
  Line("maxPerStageDescriptorUniformBuffers", s.maxPerStageDescriptorUniformBuffers);
  Line("maxPerStageDescriptorStorageBuffers", s.maxPerStageDescriptorStorageBuffers);
  Line("maxPerStageDescriptorSampledImages", s.maxPerStageDescriptorSampledImages);
  Line("maxPerStageDescriptorStorageImages", s.maxPerStageDescriptorStorageImages);
  Line("maxPerStageDescriptorInputAttachments", s.maxPerStageDescriptorInputAttachments);
  Line("maxPerStageResources", s.maxPerStageResources);
  Line("maxDescriptorSetSamplers", s.maxDescriptorSetSamplers);
  Line("maxDescriptorSetUniformBuffers", s.maxDescriptorSetUniformBuffers);
  Line("maxDescriptorSetUniformBuffersDynamic", s.maxDescriptorSetUniformBuffersDynamic);
  Line("maxDescriptorSetStorageBuffers", s.maxDescriptorSetStorageBuffers);
  Line("maxDescriptorSetStorageBuffersDynamic", s.maxDescriptorSetStorageBuffersDynamic);
  Line("maxDescriptorSetSampledImages", s.maxDescriptorSetSampledImages);
  Line("maxDescriptorSetStorageImages", s.maxDescriptorSetStorageImages);
  Line("maxDescriptorSetInputAttachments", s.maxDescriptorSetInputAttachments);
  Line("maxVertexInputAttributes", s.maxVertexInputAttributes);
  Line("maxVertexInputBindings", s.maxVertexInputBindings);
  Line("maxVertexInputAttributeOffset", s.maxVertexInputAttributeOffset);
  Line("maxVertexInputBindingStride", s.maxVertexInputBindingStride);
  Line("maxVertexOutputComponents", s.maxVertexOutputComponents);
  Line("maxTessellationGenerationLevel", s.maxTessellationGenerationLevel);
  Line("maxTessellationPatchSize", s.maxTessellationPatchSize);
  Line("maxTessellationControlPerVertexInputComponents", s.maxTessellationControlPerVertexInputComponents);
  Line("maxTessellationControlPerVertexOutputComponents", s.maxTessellationControlPerVertexOutputComponents);
  Line("maxTessellationControlPerPatchOutputComponents", s.maxTessellationControlPerPatchOutputComponents);
  Line("maxTessellationControlTotalOutputComponents", s.maxTessellationControlTotalOutputComponents);
  Line("maxTessellationEvaluationInputComponents", s.maxTessellationEvaluationInputComponents);
  Line("maxTessellationEvaluationOutputComponents", s.maxTessellationEvaluationOutputComponents);
  Line("maxGeometryShaderInvocations", s.maxGeometryShaderInvocations);
  Line("maxGeometryInputComponents", s.maxGeometryInputComponents);
  Line("maxGeometryOutputComponents", s.maxGeometryOutputComponents);
  Line("maxGeometryOutputVertices", s.maxGeometryOutputVertices);
  Line("maxGeometryTotalOutputComponents", s.maxGeometryTotalOutputComponents);
  Line("maxFragmentInputComponents", s.maxFragmentInputComponents);
  Line("maxFragmentOutputAttachments", s.maxFragmentOutputAttachments);
  Line("maxFragmentDualSrcAttachments", s.maxFragmentDualSrcAttachments);
  Line("maxFragmentCombinedOutputResources", s.maxFragmentCombinedOutputResources);
  Line("maxComputeSharedMemorySize", s.maxComputeSharedMemorySize);
  Line("maxComputeWorkGroupCount", s.maxComputeWorkGroupCount);
  Line("maxComputeWorkGroupInvocations", s.maxComputeWorkGroupInvocations);
  Line("maxComputeWorkGroupSize", s.maxComputeWorkGroupSize);
  Line("subPixelPrecisionBits", s.subPixelPrecisionBits);
  Line("subTexelPrecisionBits", s.subTexelPrecisionBits);
  Line("mipmapPrecisionBits", s.mipmapPrecisionBits);
  Line("maxDrawIndexedIndexValue", s.maxDrawIndexedIndexValue);
  Line("maxDrawIndirectCount", s.maxDrawIndirectCount);
  Line("maxSamplerLodBias", s.maxSamplerLodBias);
  Line("maxSamplerAnisotropy", s.maxSamplerAnisotropy);
  Line("maxViewports", s.maxViewports);
  Line("maxViewportDimensions", s.maxViewportDimensions);
  Line("viewportBoundsRange", s.viewportBoundsRange);
  Line("viewportSubPixelBits", s.viewportSubPixelBits);
  Line("minMemoryMapAlignment", s.minMemoryMapAlignment);
  Line("minTexelBufferOffsetAlignment", s.minTexelBufferOffsetAlignment);
  Line("minUniformBufferOffsetAlignment", s.minUniformBufferOffsetAlignment);
  Line("minStorageBufferOffsetAlignment", s.minStorageBufferOffsetAlignment);
  Line("minTexelOffset", s.minTexelOffset);
  Line("maxTexelOffset", s.maxTexelOffset);
  Line("minTexelGatherOffset", s.minTexelGatherOffset);
  Line("maxTexelGatherOffset", s.maxTexelGatherOffset);
  Line("minInterpolationOffset", s.minInterpolationOffset);
  Line("maxInterpolationOffset", s.maxInterpolationOffset);
  Line("subPixelInterpolationOffsetBits", s.subPixelInterpolationOffsetBits);
  Line("maxFramebufferWidth", s.maxFramebufferWidth);
  Line("maxFramebufferHeight", s.maxFramebufferHeight);
  Line("maxFramebufferLayers", s.maxFramebufferLayers);
  Line("framebufferColorSampleCounts", s.framebufferColorSampleCounts);
  Line("framebufferDepthSampleCounts", s.framebufferDepthSampleCounts);
  Line("framebufferStencilSampleCounts", s.framebufferStencilSampleCounts);
  Line("framebufferNoAttachmentsSampleCounts", s.framebufferNoAttachmentsSampleCounts);
  Line("maxColorAttachments", s.maxColorAttachments);
  Line("sampledImageColorSampleCounts", s.sampledImageColorSampleCounts);
  Line("sampledImageIntegerSampleCounts", s.sampledImageIntegerSampleCounts);
  Line("sampledImageDepthSampleCounts", s.sampledImageDepthSampleCounts);
  Line("sampledImageStencilSampleCounts", s.sampledImageStencilSampleCounts);
  Line("storageImageSampleCounts", s.storageImageSampleCounts);
  Line("maxSampleMaskWords", s.maxSampleMaskWords);
  Line("timestampComputeAndGraphics", s.timestampComputeAndGraphics);
  Line("timestampPeriod", s.timestampPeriod);
  Line("maxClipDistances", s.maxClipDistances);
  Line("maxCullDistances", s.maxCullDistances);
  Line("maxCombinedClipAndCullDistances", s.maxCombinedClipAndCullDistances);
  Line("discreteQueuePriorities", s.discreteQueuePriorities);
  Line("pointSizeRange", s.pointSizeRange);
  Line("lineWidthRange", s.lineWidthRange);
  Line("pointSizeGranularity", s.pointSizeGranularity);
  Line("lineWidthGranularity", s.lineWidthGranularity);
  Line("strictLines", s.strictLines);
  Line("standardSampleLocations", s.standardSampleLocations);
  Line("optimalBufferCopyOffsetAlignment", s.optimalBufferCopyOffsetAlignment);
  Line("optimalBufferCopyRowPitchAlignment", s.optimalBufferCopyRowPitchAlignment);
  Line("nonCoherentAtomSize", s.nonCoherentAtomSize);
}

void Print(const VkPhysicalDeviceSparseProperties& s) {
  Line("residencyStandard2DBlockShape", s.residencyStandard2DBlockShape);
  Line("residencyStandard2DMultisampleBlockShape", s.residencyStandard2DMultisampleBlockShape);
  Line("residencyStandard3DBlockShape", s.residencyStandard3DBlockShape);
  Line("residencyAlignedMipSize", s.residencyAlignedMipSize);
  Line("residencyNonResidentStrict", s.residencyNonResidentStrict);
}

void Print(const VkPhysicalDeviceProperties& s) {
  Line("apiVersion", s.apiVersion);
  Line("driverVersion", s.driverVersion);
  Line("vendorID", s.vendorID);
  Line("deviceID", s.deviceID);
  Line("deviceType", s.deviceType);
  Line("deviceName", s.deviceName);
  Line("pipelineCacheUUID", s.pipelineCacheUUID);
  Print(s.limits);
  Print(s.sparseProperties);
}

void Print(const VkPhysicalDeviceVulkan11Properties& s) {
  Line("deviceUUID", s.deviceUUID);
  Line("driverUUID", s.driverUUID);
  Line("deviceLUID", s.deviceLUID);
  Line("deviceNodeMask", s.deviceNodeMask);
  Line("deviceLUIDValid", s.deviceLUIDValid);
  Line("subgroupSize", s.subgroupSize);
  Line("subgroupSupportedStages", s.subgroupSupportedStages);
  Line("subgroupSupportedOperations", s.subgroupSupportedOperations);
  Line("subgroupQuadOperationsInAllStages", s.subgroupQuadOperationsInAllStages);
  Line("pointClippingBehavior", s.pointClippingBehavior);
  Line("maxMultiviewViewCount", s.maxMultiviewViewCount);
  Line("maxMultiviewInstanceIndex", s.maxMultiviewInstanceIndex);
  Line("protectedNoFault", s.protectedNoFault);
  Line("maxPerSetDescriptors", s.maxPerSetDescriptors);
  Line("maxMemoryAllocationSize", s.maxMemoryAllocationSize);
}

void Print(const VkPhysicalDeviceVulkan12Properties& s) {
  Line("driverID", s.driverID);
  Line("driverName", s.driverName);
  Line("driverInfo", s.driverInfo);
  Line("denormBehaviorIndependence", s.denormBehaviorIndependence);
  Line("roundingModeIndependence", s.roundingModeIndependence);
  Line("shaderSignedZeroInfNanPreserveFloat16", s.shaderSignedZeroInfNanPreserveFloat16);
  Line("shaderSignedZeroInfNanPreserveFloat32", s.shaderSignedZeroInfNanPreserveFloat32);
  Line("shaderSignedZeroInfNanPreserveFloat64", s.shaderSignedZeroInfNanPreserveFloat64);
  Line("shaderDenormPreserveFloat16", s.shaderDenormPreserveFloat16);
  Line("shaderDenormPreserveFloat32", s.shaderDenormPreserveFloat32);
  Line("shaderDenormPreserveFloat64", s.shaderDenormPreserveFloat64);
  Line("shaderDenormFlushToZeroFloat16", s.shaderDenormFlushToZeroFloat16);
  Line("shaderDenormFlushToZeroFloat32", s.shaderDenormFlushToZeroFloat32);
  Line("shaderDenormFlushToZeroFloat64", s.shaderDenormFlushToZeroFloat64);
  Line("shaderRoundingModeRTEFloat16", s.shaderRoundingModeRTEFloat16);
  Line("shaderRoundingModeRTEFloat32", s.shaderRoundingModeRTEFloat32);
  Line("shaderRoundingModeRTEFloat64", s.shaderRoundingModeRTEFloat64);
  Line("shaderRoundingModeRTZFloat16", s.shaderRoundingModeRTZFloat16);
  Line("shaderRoundingModeRTZFloat32", s.shaderRoundingModeRTZFloat32);
  Line("shaderRoundingModeRTZFloat64", s.shaderRoundingModeRTZFloat64);
  Line("maxUpdateAfterBindDescriptorsInAllPools", s.maxUpdateAfterBindDescriptorsInAllPools);
  Line("shaderUniformBufferArrayNonUniformIndexingNative", s.shaderUniformBufferArrayNonUniformIndexingNative);
  Line("shaderSampledImageArrayNonUniformIndexingNative", s.shaderSampledImageArrayNonUniformIndexingNative);
  Line("shaderStorageBufferArrayNonUniformIndexingNative", s.shaderStorageBufferArrayNonUniformIndexingNative);
  Line("shaderStorageImageArrayNonUniformIndexingNative", s.shaderStorageImageArrayNonUniformIndexingNative);
  Line("shaderInputAttachmentArrayNonUniformIndexingNative", s.shaderInputAttachmentArrayNonUniformIndexingNative);
  Line("robustBufferAccessUpdateAfterBind", s.robustBufferAccessUpdateAfterBind);
  Line("quadDivergentImplicitLod", s.quadDivergentImplicitLod);
  Line("maxPerStageDescriptorUpdateAfterBindSamplers", s.maxPerStageDescriptorUpdateAfterBindSamplers);
  Line("maxPerStageDescriptorUpdateAfterBindUniformBuffers", s.maxPerStageDescriptorUpdateAfterBindUniformBuffers);
  Line("maxPerStageDescriptorUpdateAfterBindStorageBuffers", s.maxPerStageDescriptorUpdateAfterBindStorageBuffers);
  Line("maxPerStageDescriptorUpdateAfterBindSampledImages", s.maxPerStageDescriptorUpdateAfterBindSampledImages);
  Line("maxPerStageDescriptorUpdateAfterBindStorageImages", s.maxPerStageDescriptorUpdateAfterBindStorageImages);
  Line("maxPerStageDescriptorUpdateAfterBindInputAttachments", s.maxPerStageDescriptorUpdateAfterBindInputAttachments);
  Line("maxPerStageUpdateAfterBindResources", s.maxPerStageUpdateAfterBindResources);
  Line("maxDescriptorSetUpdateAfterBindSamplers", s.maxDescriptorSetUpdateAfterBindSamplers);
  Line("maxDescriptorSetUpdateAfterBindUniformBuffers", s.maxDescriptorSetUpdateAfterBindUniformBuffers);
  Line("maxDescriptorSetUpdateAfterBindUniformBuffersDynamic", s.maxDescriptorSetUpdateAfterBindUniformBuffersDynamic);
  Line("maxDescriptorSetUpdateAfterBindStorageBuffers", s.maxDescriptorSetUpdateAfterBindStorageBuffers);
  Line("maxDescriptorSetUpdateAfterBindStorageBuffersDynamic", s.maxDescriptorSetUpdateAfterBindStorageBuffersDynamic);
  Line("maxDescriptorSetUpdateAfterBindSampledImages", s.maxDescriptorSetUpdateAfterBindSampledImages);
  Line("maxDescriptorSetUpdateAfterBindStorageImages", s.maxDescriptorSetUpdateAfterBindStorageImages);
  Line("maxDescriptorSetUpdateAfterBindInputAttachments", s.maxDescriptorSetUpdateAfterBindInputAttachments);
  Line("supportedDepthResolveModes", s.supportedDepthResolveModes);
  Line("supportedStencilResolveModes", s.supportedStencilResolveModes);
  Line("independentResolveNone", s.independentResolveNone);
  Line("independentResolve", s.independentResolve);
  Line("filterMinmaxSingleComponentFormats", s.filterMinmaxSingleComponentFormats);
  Line("filterMinmaxImageComponentMapping", s.filterMinmaxImageComponentMapping);
  Line("maxTimelineSemaphoreValueDifference", s.maxTimelineSemaphoreValueDifference);
  Line("framebufferIntegerColorSampleCounts", s.framebufferIntegerColorSampleCounts);
  Line("conformanceVersion.major", s.conformanceVersion.major);
  Line("conformanceVersion.minor", s.conformanceVersion.minor);
  Line("conformanceVersion.subminor", s.conformanceVersion.subminor);
  Line("conformanceVersion.patch", s.conformanceVersion.patch);
}

void Print(const VkPhysicalDeviceVulkan13Properties& s) {
  Line("minSubgroupSize", s.minSubgroupSize);
  Line("maxSubgroupSize", s.maxSubgroupSize);
  Line("maxComputeWorkgroupSubgroups", s.maxComputeWorkgroupSubgroups);
  Line("requiredSubgroupSizeStages", s.requiredSubgroupSizeStages);
  Line("maxInlineUniformBlockSize", s.maxInlineUniformBlockSize);
  Line("maxPerStageDescriptorInlineUniformBlocks", s.maxPerStageDescriptorInlineUniformBlocks);
  Line("maxPerStageDescriptorUpdateAfterBindInlineUniformBlocks",
       s.maxPerStageDescriptorUpdateAfterBindInlineUniformBlocks);
  Line("maxDescriptorSetInlineUniformBlocks", s.maxDescriptorSetInlineUniformBlocks);
  Line("maxDescriptorSetUpdateAfterBindInlineUniformBlocks", s.maxDescriptorSetUpdateAfterBindInlineUniformBlocks);
  Line("maxInlineUniformTotalSize", s.maxInlineUniformTotalSize);
  Line("integerDotProduct8BitUnsignedAccelerated", s.integerDotProduct8BitUnsignedAccelerated);
  Line("integerDotProduct8BitSignedAccelerated", s.integerDotProduct8BitSignedAccelerated);
  Line("integerDotProduct8BitMixedSignednessAccelerated", s.integerDotProduct8BitMixedSignednessAccelerated);
  Line("integerDotProduct4x8BitPackedUnsignedAccelerated", s.integerDotProduct4x8BitPackedUnsignedAccelerated);
  Line("integerDotProduct4x8BitPackedSignedAccelerated", s.integerDotProduct4x8BitPackedSignedAccelerated);
  Line("integerDotProduct4x8BitPackedMixedSignednessAccelerated",
       s.integerDotProduct4x8BitPackedMixedSignednessAccelerated);
  Line("integerDotProduct16BitUnsignedAccelerated", s.integerDotProduct16BitUnsignedAccelerated);
  Line("integerDotProduct16BitSignedAccelerated", s.integerDotProduct16BitSignedAccelerated);
  Line("integerDotProduct16BitMixedSignednessAccelerated", s.integerDotProduct16BitMixedSignednessAccelerated);
  Line("integerDotProduct32BitUnsignedAccelerated", s.integerDotProduct32BitUnsignedAccelerated);
  Line("integerDotProduct32BitSignedAccelerated", s.integerDotProduct32BitSignedAccelerated);
  Line("integerDotProduct32BitMixedSignednessAccelerated", s.integerDotProduct32BitMixedSignednessAccelerated);
  Line("integerDotProduct64BitUnsignedAccelerated", s.integerDotProduct64BitUnsignedAccelerated);
  Line("integerDotProduct64BitSignedAccelerated", s.integerDotProduct64BitSignedAccelerated);
  Line("integerDotProduct64BitMixedSignednessAccelerated", s.integerDotProduct64BitMixedSignednessAccelerated);
  Line("integerDotProductAccumulatingSaturating8BitUnsignedAccelerated",
       s.integerDotProductAccumulatingSaturating8BitUnsignedAccelerated);
  Line("integerDotProductAccumulatingSaturating8BitSignedAccelerated",
       s.integerDotProductAccumulatingSaturating8BitSignedAccelerated);
  Line("integerDotProductAccumulatingSaturating8BitMixedSignednessAccelerated",
       s.integerDotProductAccumulatingSaturating8BitMixedSignednessAccelerated);
  Line("integerDotProductAccumulatingSaturating4x8BitPackedUnsignedAccelerated",
       s.integerDotProductAccumulatingSaturating4x8BitPackedUnsignedAccelerated);
  Line("integerDotProductAccumulatingSaturating4x8BitPackedSignedAccelerated",
       s.integerDotProductAccumulatingSaturating4x8BitPackedSignedAccelerated);
  Line("integerDotProductAccumulatingSaturating4x8BitPackedMixedSignednessAccelerated",
       s.integerDotProductAccumulatingSaturating4x8BitPackedMixedSignednessAccelerated);
  Line("integerDotProductAccumulatingSaturating16BitUnsignedAccelerated",
       s.integerDotProductAccumulatingSaturating16BitUnsignedAccelerated);
  Line("integerDotProductAccumulatingSaturating16BitSignedAccelerated",
       s.integerDotProductAccumulatingSaturating16BitSignedAccelerated);
  Line("integerDotProductAccumulatingSaturating16BitMixedSignednessAccelerated",
       s.integerDotProductAccumulatingSaturating16BitMixedSignednessAccelerated);
  Line("integerDotProductAccumulatingSaturating32BitUnsignedAccelerated",
       s.integerDotProductAccumulatingSaturating32BitUnsignedAccelerated);
  Line("integerDotProductAccumulatingSaturating32BitSignedAccelerated",
       s.integerDotProductAccumulatingSaturating32BitSignedAccelerated);
  Line("integerDotProductAccumulatingSaturating32BitMixedSignednessAccelerated",
       s.integerDotProductAccumulatingSaturating32BitMixedSignednessAccelerated);
  Line("integerDotProductAccumulatingSaturating64BitUnsignedAccelerated",
       s.integerDotProductAccumulatingSaturating64BitUnsignedAccelerated);
  Line("integerDotProductAccumulatingSaturating64BitSignedAccelerated",
       s.integerDotProductAccumulatingSaturating64BitSignedAccelerated);
  Line("integerDotProductAccumulatingSaturating64BitMixedSignednessAccelerated",
       s.integerDotProductAccumulatingSaturating64BitMixedSignednessAccelerated);
  Line("storageTexelBufferOffsetAlignmentBytes", s.storageTexelBufferOffsetAlignmentBytes);
  Line("storageTexelBufferOffsetSingleTexelAlignment", s.storageTexelBufferOffsetSingleTexelAlignment);
  Line("uniformTexelBufferOffsetAlignmentBytes", s.uniformTexelBufferOffsetAlignmentBytes);
  Line("uniformTexelBufferOffsetSingleTexelAlignment", s.uniformTexelBufferOffsetSingleTexelAlignment);
  Line("maxBufferSize", s.maxBufferSize);
}

}  // namespace vesper::test::report
