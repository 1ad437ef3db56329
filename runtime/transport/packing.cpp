#include "runtime/transport/packing.h"

#include <lz4.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>
#include <utility>

#include "runtime/transport/frame.h"

namespace vesper::transport {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kWord = 4;
// A message is sent as it is unless it becomes smaller by one part in so many.
constexpr size_t kLeastGain = 16;
// Where nothing is gained most messages are left alone, but for small ones, which cost little and are of other kinds.
constexpr size_t kSmall = size_t{4} << 10;
constexpr unsigned kMostInVain = 32;
// How often both ways are tried, and how often the speed of packing is measured anew although it is too low.
constexpr unsigned kCompareEvery = 16;
constexpr unsigned kMeasureEvery = 256;
// Packing must be so many times as fast as the line, since the processor has other things to do, and no line that takes so many
// bytes a second is worth it.
constexpr double kTimesTheLine = 3;
constexpr uint64_t kFastLine = 64'000'000;

void ToPlanes(std::span<const uint8_t> bytes, uint8_t* out) {
  const size_t words = bytes.size() / kWord;
  for (size_t plane = 0; plane < kWord; ++plane) {
    const uint8_t* from = bytes.data() + plane;
    uint8_t* to = out + plane * words;
    for (size_t i = 0; i < words; ++i) to[i] = from[i * kWord];
  }
  std::copy(bytes.begin() + static_cast<ptrdiff_t>(words * kWord), bytes.end(), out + words * kWord);
}

void FromPlanes(std::span<const uint8_t> planes, uint8_t* out) {
  const size_t words = planes.size() / kWord;
  for (size_t plane = 0; plane < kWord; ++plane) {
    const uint8_t* from = planes.data() + plane * words;
    for (size_t i = 0; i < words; ++i) out[i * kWord + plane] = from[i];
  }
  std::copy(planes.begin() + static_cast<ptrdiff_t>(words * kWord), planes.end(), out + words * kWord);
}

const char* Chars(const uint8_t* bytes) { return reinterpret_cast<const char*>(bytes); }
char* Chars(uint8_t* bytes) { return reinterpret_cast<char*>(bytes); }

}  // namespace

bool Packer::Wants(size_t bytes, uint64_t line_rate) {
  if (mode_ == Compression::kOff || bytes < kLeastPackable || bytes > kMostPackable) return false;
  if (mode_ == Compression::kOn) return true;
  if (line_rate == 0 || line_rate >= kFastLine) return false;
  if (kTimesTheLine * static_cast<double>(line_rate) > speed_ && ++refused_ % kMeasureEvery != 0) return false;
  if (bytes < kSmall || skipping_ == 0) return true;
  --skipping_;
  return false;
}

std::span<const uint8_t> Packer::Join(std::span<const std::span<const uint8_t>> parts) {
  if (parts.size() == 1) return parts[0];
  joined_.clear();
  for (const auto& part : parts) joined_.insert(joined_.end(), part.begin(), part.end());
  return joined_;
}

// How many bytes it takes; 0 where that is hardly less.
size_t Packer::Compress(std::span<const uint8_t> bytes, std::vector<uint8_t>* out) {
  if (out->size() < bytes.size()) out->resize(bytes.size());
  const size_t most = bytes.size() - bytes.size() / kLeastGain;
  const int size = LZ4_compress_fast_extState(state_.get(), Chars(bytes.data()), Chars(out->data()),
                                              static_cast<int>(bytes.size()), static_cast<int>(most), 1);
  return size <= 0 ? 0 : static_cast<size_t>(size);
}

Packing Packer::Pack(std::span<const std::span<const uint8_t>> parts, std::span<const uint8_t>* packed) noexcept {
  try {
    if (state_ == nullptr) state_.reset(new uint8_t[static_cast<size_t>(LZ4_sizeofState())]);
    const auto begin = Clock::now();
    const std::span<const uint8_t> bytes = Join(parts);
    const bool compares = until_compared_ == 0;
    until_compared_ = compares ? kCompareEvery : until_compared_ - 1;
    size_t plain = 0, planes = 0;
    if (compares || preferred_ == Packing::kLz4) plain = Compress(bytes, &packed_);
    if (compares || preferred_ == Packing::kLz4OfPlanes) {
      if (planes_.size() < bytes.size()) planes_.resize(bytes.size());
      ToPlanes(bytes, planes_.data());
      planes = Compress({planes_.data(), bytes.size()}, &other_);
    }
    const bool takes_planes = planes != 0 && (plain == 0 || planes < plain);
    const size_t size = takes_planes ? planes : plain;
    if (compares && size != 0) preferred_ = takes_planes ? Packing::kLz4OfPlanes : Packing::kLz4;
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    if (seconds > 0) speed_ += (static_cast<double>(bytes.size()) * (compares ? 2 : 1) / seconds - speed_) / 8;
    NoteGain(bytes.size(), size);
    if (size == 0) return Packing::kNone;
    *packed = {takes_planes ? other_.data() : packed_.data(), size};
    return takes_planes ? Packing::kLz4OfPlanes : Packing::kLz4;
  } catch (const std::bad_alloc&) {
    return Packing::kNone;
  }
}

void Packer::NoteGain(size_t bytes, size_t packed) {
  if (bytes < kSmall) return;
  if (packed != 0) {
    in_vain_ = 0;
    return;
  }
  until_compared_ = 0;  // the next one is of another kind, perhaps
  in_vain_ = std::clamp(2 * in_vain_, 1u, kMostInVain);
  skipping_ = in_vain_;
}

bool Unpack(Packing packing, std::span<const uint8_t> packed, size_t size, std::vector<uint8_t>* out) {
  if (size == 0 || size > kMostPackable || packed.empty() || packed.size() > kMostPackable) return false;
  std::vector<uint8_t> planes;
  std::vector<uint8_t>* const unpacked = packing == Packing::kLz4 ? out : &planes;
  unpacked->resize(size);
  const int done = LZ4_decompress_safe(Chars(packed.data()), Chars(unpacked->data()), static_cast<int>(packed.size()),
                                       static_cast<int>(size));
  if (done < 0 || static_cast<size_t>(done) != size) return false;
  if (packing == Packing::kLz4) return true;
  if (packing != Packing::kLz4OfPlanes) return false;
  out->resize(size);
  FromPlanes(planes, out->data());
  return true;
}

}  // namespace vesper::transport
