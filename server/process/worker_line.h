// What supervisor and worker tell each other over the socket pair between them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/descriptor.h"
#include "server/entry/admission.h"
#include "server/entry/passing.h"

namespace vesper::server {

// What a worker reports. The text of kFailed says why.
enum class Report : uint8_t {
  kReady,           // the drivers are loaded: it takes a session
  kFailed,          // it cannot take one
  kWantsDevice,     // its client makes its first device; the answer is kDeviceGranted or kDeviceDenied
  kGaveDeviceUp,    // its client has no device any more
  kAccount,         // the text is an Account, as it lies in memory
  kWantsPipelines,  // the text is a PipelineKey; the answer is kPipelines
  kPipelines,       // to be kept for that key: a file that comes along, or none
};

// The exit status of a worker whose client, a program of a guest, may still have its memory mapped: what the worker held of the
// guest's memory stays held until that is over (server/entry/guests.h).
inline constexpr int kMemoryInUse = 3;

// What a worker is told: the memory of its client's guest, if it is in one, with the file; its session, with the client's socket;
// later answers to kWantsDevice and kWantsPipelines, and sockets of those who say that they are the client, whose connection broke.
enum class Order : uint8_t { kSession, kDeviceGranted, kDeviceDenied, kArea, kResume, kPipelines };

struct OrderMessage {
  Order order = Order::kSession;
  uint64_t session = 0;
  Admission admission;  // only with kSession and kResume
};

// False when the other end is gone. Nothing waits.
// `file` goes along unless it is -1; it stays the caller's.
bool SendReport(int line, Report report, std::string_view text = {}, int file = -1);
// `file` becomes the one that came along, or an invalid one.
LineStatus ReceiveReport(int line, Report* report, std::string* text, Descriptor* file);

// `socket` goes along unless it is -1; it stays the caller's.
bool SendOrder(int line, const OrderMessage& order, int socket = -1);
// Waits for up to `timeout_ms`, for ever if that is negative. `socket` becomes the one that came along, or -1.
LineStatus ReceiveOrder(int line, int timeout_ms, OrderMessage* order, int* socket);

}  // namespace vesper::server
