// For what lives as long as the process: made when it is first asked for, without allocating, and never destroyed, since
// threads of the application and handlers of its end may still use it.
#pragma once

#include <cstddef>
#include <new>

namespace vesper::client {

template <typename T>
class Immortal {
 public:
  Immortal() { new (storage_) T; }
  T& operator*() { return *std::launder(reinterpret_cast<T*>(storage_)); }

 private:
  alignas(T) std::byte storage_[sizeof(T)];
};

}  // namespace vesper::client
