// Pictures of windows as a client gets them that asked for VESPER_FRAMES=near: what changed as JPEG, without loss of detail in
// colours (4:4:4), and exactly once it stands still. docs/windows.md says what it is for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/wire/control.h"

namespace vesper::server {

class Events;

// The quality of JPEGs; what differs in less of a tile goes exactly at once; and so many tiles that stand still are sent exactly
// with a picture after one in which something moved, or nothing. What a client may ask for at most.
inline constexpr int kJpegQuality = 92;
inline constexpr size_t kFewBytes = 1024;
inline constexpr uint32_t kSettledTiles = 8;
inline constexpr uint32_t kSettledTilesStill = 64;
inline constexpr uint32_t kMaxPictureSide = 16384;
inline constexpr uint32_t kMaxPictures = 64;

// Whether this server was built with libjpeg-turbo.
bool MakesJpeg() noexcept;

// Makes JPEGs of parts of pictures. One thread at a time.
class JpegMaker {
 public:
  explicit JpegMaker(bool red_first);
  ~JpegMaker();
  JpegMaker(const JpegMaker&) = delete;
  JpegMaker& operator=(const JpegMaker&) = delete;
  // Valid until the next call; empty when it cannot be made. At most wire::kMaxTileWidth times wire::kMaxTileHeight pixels.
  std::span<const uint8_t> Make(const uint8_t* pixels, size_t stride, uint32_t width, uint32_t height);

 private:
  void* compressor_ = nullptr;
  const bool red_first_;
  std::vector<uint8_t> out_;
};

// The pictures of one memory object, and what the client has of them: what the twin holds, but for tiles that it has nearly.
// The owner's lock guards it.
class NearPictures {
 public:
  static constexpr uint32_t kTile = 64;
  static constexpr size_t kPixel = 4;

  explicit NearPictures(const wire::PictureMemory& of);
  const wire::PictureMemory& of() const { return of_; }
  size_t RowBytes() const { return size_t{of_.width} * kPixel; }
  uint64_t OffsetOf(uint32_t index, uint32_t y) const { return index * of_.stride + y * RowBytes(); }
  uint32_t RowsAt(uint32_t y) const;

  // The program has presented another picture, which the device is about to write there.
  void Presented(uint64_t offset);
  // Ahead of the rows of tiles of one picture.
  void Begin(uint32_t index);
  // Sends what the client lacks of the row of tiles at `y`, whose pixels are `current`; the twin has what was sent. Pixels
  // are read once. Returns how many bytes were sent.
  size_t SendRow(uint32_t index, uint32_t y, const uint8_t* current, uint8_t* twin, Events* events);

 private:
  struct Picture {
    // For each tile: how many had been presented when it was sent nearly, from 1; 0: it is exact.
    std::vector<uint64_t> near;
    uint64_t presented = 0;
    uint64_t looked_at = 0;    // `presented` when it was looked at last
    bool changed = false;      // since
    uint32_t may_settle = 0;   // how many tiles may still be sent exactly, of this picture
  };
  enum class Tile : uint8_t { kKnown, kFew, kChanged, kSettles };
  // The pixels of a row of tiles that differ, all of which lie within.
  struct Box {
    uint32_t x = UINT32_MAX, y = UINT32_MAX, end_x = 0, end_y = 0;
    bool empty() const { return end_x == 0; }
    size_t bytes() const { return size_t{end_x - x} * (end_y - y) * kPixel; }
  };
  Box Compare(const uint8_t* twin, uint32_t x, uint32_t width, uint32_t rows) const;
  Tile Judge(Picture* picture, size_t tile, const Box& box);
  size_t SendNear(uint32_t index, uint32_t y, uint32_t x, uint32_t width, uint32_t rows, Events* events);
  size_t SendExact(uint32_t index, uint32_t y, const Box& box, Events* events);

  const wire::PictureMemory of_;
  const uint32_t columns_;
  std::vector<Picture> pictures_;
  std::vector<uint8_t> seen_;  // one row of tiles
  JpegMaker jpeg_;
};

}  // namespace vesper::server
