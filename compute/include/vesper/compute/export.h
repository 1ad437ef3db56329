// What libvesper-compute.so exports; everything else in it is hidden.
// Public: see docs/compute.md.
#pragma once

#define VESPER_COMPUTE_API __attribute__((visibility("default")))
