// What supervisor and worker tell each other over the socket pair between them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "server/entry/admission.h"
#include "server/entry/passing.h"

namespace vesper::server {

// What a worker reports. The text of kFailed says why.
enum class Report : uint8_t {
  kReady,         // the drivers are loaded: it takes a session
  kFailed,        // it cannot take one
  kWantsDevice,   // its client makes its first device; the answer is kDeviceGranted or kDeviceDenied
  kGaveDeviceUp,  // its client has no device any more
  kAccount,       // the text is an Account, as it lies in memory
};

// The exit status of a worker whose client, a program of a guest, may still have its memory mapped: what the worker held of the
// guest's memory stays held until that is over (server/entry/guests.h).
inline constexpr int kMemoryInUse = 3;

// What a worker is told: the memory of its client's guest, if it is in one, with the file; its session, with the client's socket;
// later answers to kWantsDevice, and sockets of those who say that they are the client, whose connection broke.
enum class Order : uint8_t { kSession, kDeviceGranted, kDeviceDenied, kArea, kResume };

struct OrderMessage {
  Order order = Order::kSession;
  uint64_t session = 0;
  Admission admission;  // only with kSession and kResume
};

// False when the other end is gone. Nothing waits.
bool SendReport(int line, Report report, std::string_view text = {});
LineStatus ReceiveReport(int line, Report* report, std::string* text);

// `socket` goes along unless it is -1; it stays the caller's.
bool SendOrder(int line, const OrderMessage& order, int socket = -1);
// Waits for up to `timeout_ms`, for ever if that is negative. `socket` becomes the one that came along, or -1.
LineStatus ReceiveOrder(int line, int timeout_ms, OrderMessage* order, int* socket);

}  // namespace vesper::server
