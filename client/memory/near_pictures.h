// Pictures of windows that the server may send nearly as they are, as JPEG (VESPER_FRAMES=near): how they lie in which memory.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <span>

#include "client/base/ids.h"
#include "client/memory/jpeg_library.h"
#include "runtime/mutex.h"
#include "runtime/wire/control.h"
#include "runtime/wire/memory_runs.h"

namespace vesper::client {

// A session's. Any thread, but for Unpack(), which is the reader's.
class NearPictures {
 public:
  // False when this machine cannot unpack them.
  bool Note(const wire::PictureMemory& pictures) noexcept;
  void Forget(ObjectId memory) noexcept;

  // The rows of a part of a picture, as runs of its memory, valid until the next call; none for memory that is not noted, as of a
  // swapchain that is gone. False for what does not fit the picture, or is no JPEG of that size.
  bool Unpack(const wire::PictureTile& tile, std::span<const uint8_t> jpeg, std::span<wire::Run>* rows) noexcept;

 private:
  Mutex mutex_;
  std::map<ObjectId, wire::PictureMemory> pictures_ VESPER_GUARDED_BY(mutex_);
  std::unique_ptr<JpegReader> jpeg_ VESPER_GUARDED_BY(mutex_);  // once there are some
  std::array<wire::Run, wire::kMaxTileHeight> rows_;            // the reader's
};

}  // namespace vesper::client
