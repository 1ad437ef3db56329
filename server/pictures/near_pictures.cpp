#include "server/pictures/near_pictures.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "server/channel/events.h"

#ifdef VESPER_TURBOJPEG
#include <turbojpeg.h>
#endif

namespace vesper::server {

#ifdef VESPER_TURBOJPEG

bool MakesJpeg() noexcept { return true; }

JpegMaker::JpegMaker(bool red_first) : compressor_(tjInitCompress()), red_first_(red_first) {
  out_.resize(tjBufSize(wire::kMaxTileWidth, wire::kMaxTileHeight, TJSAMP_444));
}

JpegMaker::~JpegMaker() {
  if (compressor_ != nullptr) tjDestroy(compressor_);
}

std::span<const uint8_t> JpegMaker::Make(const uint8_t* pixels, size_t stride, uint32_t width, uint32_t height) {
  if (compressor_ == nullptr) return {};
  unsigned char* out = out_.data();
  unsigned long size = out_.size();
  const int made =
      tjCompress2(compressor_, pixels, static_cast<int>(width), static_cast<int>(stride), static_cast<int>(height),
                  red_first_ ? TJPF_RGBX : TJPF_BGRX, &out, &size, TJSAMP_444, kJpegQuality, TJFLAG_NOREALLOC);
  if (made != 0) return {};
  return {out_.data(), size};
}

#else

bool MakesJpeg() noexcept { return false; }
JpegMaker::JpegMaker(bool red_first) : red_first_(red_first) {}
JpegMaker::~JpegMaker() = default;
std::span<const uint8_t> JpegMaker::Make(const uint8_t*, size_t, uint32_t, uint32_t) { return {}; }

#endif

NearPictures::NearPictures(const wire::PictureMemory& of)
    : of_(of), columns_((of.width + kTile - 1) / kTile), pictures_(of.count), jpeg_(of.red_first != 0) {
  const size_t tiles = size_t{columns_} * ((of.height + kTile - 1) / kTile);
  for (Picture& picture : pictures_) picture.near.resize(tiles);
  seen_.resize(RowBytes() * kTile);
}

uint32_t NearPictures::RowsAt(uint32_t y) const { return std::min(kTile, of_.height - y); }

void NearPictures::Presented(uint64_t offset) {
  const uint64_t index = offset / of_.stride;
  if (index < pictures_.size()) ++pictures_[index].presented;
}

void NearPictures::Begin(uint32_t index) {
  Picture& picture = pictures_[index];
  if (std::exchange(picture.looked_at, picture.presented) == picture.presented) return;
  picture.may_settle = std::exchange(picture.changed, false) ? kSettledTiles : kSettledTilesStill;
}

NearPictures::Box NearPictures::Compare(const uint8_t* twin, uint32_t x, uint32_t width, uint32_t rows) const {
  Box box;
  for (uint32_t row = 0; row < rows; ++row) {
    const size_t at = row * RowBytes() + x * kPixel;
    const uint8_t* const now = seen_.data() + at;
    const uint8_t* const before = twin + at;
    if (std::memcmp(now, before, width * kPixel) == 0) continue;
    uint32_t first = 0;
    uint32_t end = width;
    while (std::memcmp(now + first * kPixel, before + first * kPixel, kPixel) == 0) ++first;
    while (std::memcmp(now + (end - 1) * kPixel, before + (end - 1) * kPixel, kPixel) == 0) --end;
    box = {std::min(box.x, x + first), std::min(box.y, row), std::max(box.end_x, x + end), row + 1};
  }
  return box;
}

// What of a tile the client lacks. One stands still when the picture that was presented after the one in which it changed is
// there, and that is only sure when yet another is on its way.
NearPictures::Tile NearPictures::Judge(Picture* picture, size_t tile, const Box& box) {
  if (box.empty()) {
    const uint64_t near = picture->near[tile];
    if (near == 0 || picture->may_settle == 0 || picture->presented <= near) return Tile::kKnown;
    --picture->may_settle;
    return Tile::kSettles;
  }
  picture->changed = true;
  return box.bytes() <= kFewBytes && picture->near[tile] == 0 ? Tile::kFew : Tile::kChanged;
}

size_t NearPictures::SendRow(uint32_t index, uint32_t y, const uint8_t* current, uint8_t* twin, Events* events) {
  const uint32_t rows = RowsAt(y);
  Picture& picture = pictures_[index];
  std::memcpy(seen_.data(), current, RowBytes() * rows);
  const size_t first_tile = size_t{y / kTile} * columns_;
  size_t sent = 0;
  // Tiles of one kind beside each other go together, but for those of which little goes.
  uint32_t begin = 0;
  Tile kind = Tile::kKnown;
  Box few;
  const auto send = [&](uint32_t end) {
    const uint32_t x = begin * kTile;
    const uint32_t width = std::min(end * kTile, of_.width) - x;
    if (kind == Tile::kKnown || width == 0) return;
    const bool near = kind == Tile::kChanged;
    sent += near ? SendNear(index, y, x, width, rows, events)
                 : SendExact(index, y, kind == Tile::kFew ? few : Box{x, 0, x + width, rows}, events);
    for (uint32_t column = begin; column < end; ++column) picture.near[first_tile + column] = near ? picture.presented + 1 : 0;
    for (uint32_t row = 0; row < rows; ++row) {
      const size_t at = row * RowBytes() + x * kPixel;
      std::memcpy(twin + at, seen_.data() + at, width * kPixel);
    }
  };
  for (uint32_t column = 0; column < columns_; ++column) {
    const uint32_t x = column * kTile;
    const Box box = Compare(twin, x, std::min(kTile, of_.width - x), rows);
    const Tile now = Judge(&picture, first_tile + column, box);
    if (now == kind && now != Tile::kFew && (column - begin) * kTile < wire::kMaxTileWidth) continue;
    send(column);
    begin = column;
    kind = now;
    few = box;
  }
  send(columns_);
  return sent;
}

size_t NearPictures::SendNear(uint32_t index, uint32_t y, uint32_t x, uint32_t width, uint32_t rows, Events* events) {
  const auto jpeg = jpeg_.Make(seen_.data() + x * kPixel, RowBytes(), width, rows);
  if (jpeg.empty()) return SendExact(index, y, {x, 0, x + width, rows}, events);
  events->Picture({of_.memory, index, x, y, width, rows, static_cast<uint32_t>(jpeg.size())}, jpeg);
  return jpeg.size();
}

size_t NearPictures::SendExact(uint32_t index, uint32_t y, const Box& box, Events* events) {
  const size_t at = box.y * RowBytes() + box.x * kPixel;
  events->MemoryRows(of_.memory, OffsetOf(index, y) + at, RowBytes(),
                     {seen_.data() + at, size_t{box.end_x - box.x} * kPixel}, box.end_y - box.y);
  return box.bytes();
}

}  // namespace vesper::server
