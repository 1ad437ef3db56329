#include "client/wsi/frames.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <iterator>

#include "client/base/log.h"
#include "client/session/session.h"
#include "client/windows/target.h"
#include "runtime/environment.h"
#include "runtime/wire/control.h"

namespace vesper::client {
namespace {

bool WantsNear() noexcept {
  const char* wanted = Setting("VESPER_FRAMES");
  if (wanted == nullptr || std::strcmp(wanted, "exact") == 0) return false;
  if (std::strcmp(wanted, "near") == 0) return true;
  static std::atomic<bool> said{false};
  if (!said.exchange(true)) {
    Log(LogLevel::kWarn, "VESPER_FRAMES=%s: there are exact and near; pictures come exactly", wanted);
  }
  return false;
}

}  // namespace

void ChooseFrames(const SwapchainState& state, VkCompositeAlphaFlagBitsKHR alpha) noexcept {
  const bool plain =
      std::find(std::begin(kPlainFormats), std::end(kPlainFormats), state.info.format) != std::end(kPlainFormats);
  const auto* memory = state.device->session->states().Get<MemoryState>(state.buffer_memory);
  // Shared memory costs nothing to send; other formats, and alpha, have no place in a JPEG.
  if (memory == nullptr || memory->shared.valid() || memory->imported != nullptr || !plain ||
      alpha != VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR || !WantsNear()) {
    return;
  }
  const wire::PictureMemory pictures = {IdOf(state.buffer_memory),
                                        state.buffer_stride,
                                        static_cast<uint32_t>(state.buffers.size()),
                                        state.info.extent.width,
                                        state.info.extent.height,
                                        HasRedFirst(state.info.format) ? 1u : 0u};
  if (state.device->session->AskForNear(pictures)) return;
  static std::atomic<bool> said{false};
  if (state.device->session->lost() || said.exchange(true)) return;
  Log(LogLevel::kWarn,
      "VESPER_FRAMES=near needs libturbojpeg0 here and a server that has it as well: pictures come exactly");
}

}  // namespace vesper::client
