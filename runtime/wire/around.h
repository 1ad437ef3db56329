// What is around a struct that is being encoded or decoded: conditions and lengths of what it holds may look at it (policy
// `surrounds`). Generated codecs make it known, runtime/vk/conditions.h asks.
#pragma once

#include <cstdint>

namespace vesper::wire {

// Its sType, or the number that runtime/vk/conditions.h gives one that has none, and where it is.
struct Around {
  int32_t type = 0;
  const void* value = nullptr;
};

// While it lives, `value` is what is around everything that the codec takes up.
template <typename Codec>
class Inside {
 public:
  Inside(Codec* codec, int32_t type, const void* value) : codec_(codec), outer_(codec->around_) {
    codec->around_ = {type, value};
  }
  ~Inside() { codec_->around_ = outer_; }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  Codec* const codec_;
  const Around outer_;
};

}  // namespace vesper::wire
