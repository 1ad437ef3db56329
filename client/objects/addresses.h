// Device addresses of buffers and acceleration structures, which never change: each is asked for once. A program that asks for
// one is likely to ask for all: from its first question on, an object's address is asked for, without waiting, when it gets
// one; and that question brings those of all that were made before. A program that never asks pays nothing, and has perhaps
// not enabled what the question needs. What asks is client/overrides/addresses.h.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <unordered_map>

#include "client/connection/remote_value.h"
#include "runtime/mutex.h"
#include "runtime/object_id.h"

namespace vesper::client {

enum class Addressed : uint8_t { kBuffer, kAccelerationStructure };

// Of one kind of a device's objects.
struct Addresses {
  std::atomic<bool> wanted{false};  // the program has asked for one
  // Held while what is not asked is asked, so that the question precedes the object's destruction; taken before the mutexes of
  // the connection.
  Mutex mutex;
  std::unordered_map<RemoteValue*, ObjectId> unasked VESPER_GUARDED_BY(mutex);
};
using AllAddresses = std::array<Addresses, 2>;  // by Addressed

}  // namespace vesper::client
