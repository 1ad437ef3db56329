#include "client/memory/near_pictures.h"

#include <new>

namespace vesper::client {

bool NearPictures::Note(const wire::PictureMemory& pictures) noexcept {
  const MutexLock lock(mutex_);
  if (jpeg_ == nullptr) jpeg_ = JpegReader::Make();
  if (jpeg_ == nullptr) return false;
  try {
    pictures_[pictures.memory] = pictures;
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

void NearPictures::Forget(ObjectId memory) noexcept {
  const MutexLock lock(mutex_);
  pictures_.erase(memory);
}

bool NearPictures::Unpack(const wire::PictureTile& tile, std::span<const uint8_t> jpeg,
                          std::span<wire::Run>* rows) noexcept {
  *rows = {};
  const MutexLock lock(mutex_);
  const auto found = pictures_.find(tile.memory);
  if (found == pictures_.end()) return true;
  const wire::PictureMemory& of = found->second;
  if (tile.index >= of.count || tile.width == 0 || tile.width > wire::kMaxTileWidth || tile.height == 0 ||
      tile.height > wire::kMaxTileHeight || tile.x >= of.width || tile.width > of.width - tile.x ||
      tile.y >= of.height || tile.height > of.height - tile.y) {
    return false;
  }
  try {
    const uint8_t* const pixels = jpeg_->Read(jpeg, tile.width, tile.height, of.red_first != 0);
    if (pixels == nullptr) return false;
    const auto bytes = static_cast<uint32_t>(tile.width * sizeof(uint32_t));
    for (uint32_t row = 0; row < tile.height; ++row) {
      const uint64_t pixel = uint64_t{tile.y + row} * of.width + tile.x;
      rows_[row] = {tile.index * of.stride + pixel * sizeof(uint32_t), bytes, nullptr,
                    {pixels + size_t{row} * bytes, bytes}};
    }
  } catch (const std::bad_alloc&) {
    return false;
  }
  *rows = std::span(rows_).first(tile.height);
  return true;
}

}  // namespace vesper::client
