// All of vesper-compute.
// Public: see docs/compute.md.
#pragma once

#include "vesper/compute/buffer.h"
#include "vesper/compute/device.h"
#include "vesper/compute/error.h"
#include "vesper/compute/instance.h"
#include "vesper/compute/kernel.h"
#include "vesper/compute/one_shot.h"
#include "vesper/compute/submission.h"
