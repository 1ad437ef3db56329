// SPIR-V before the driver sees it: is it any, and what does it say about itself.
#pragma once

#include <cstdint>
#include <span>

#include "vesper/compute/device.h"
#include "vesper/compute/kernel.h"

namespace vesper::compute {

// The magic number and the structure of every instruction; with `validate` also all that spirv-val
// checks. Throws SpirvCompilationFailed.
void CheckSpirv(std::span<const uint32_t> spirv, const std::string& name, bool validate);

// Throws PipelineCreationFailed for what a Kernel cannot be made of.
KernelReflection Reflect(std::span<const uint32_t> spirv, const KernelOptions& options);

}  // namespace vesper::compute
