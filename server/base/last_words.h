// What a worker's client is told when the worker ends by an exception that nobody catches or by a signal. Its session ends
// with this process; others are not touched.
#pragma once

#include <cstdint>

namespace vesper::server {

// As a client expects it: a refusal before its session has begun, a goodbye afterwards.
enum class LastKind : uint8_t { kRefused, kGoodbye };

// Called once, before threads are started. From then on such ends are told, even when no memory is left.
void LeaveLastWords();
// Sets the socket of the client that is told; -1: nobody is.
void SetLastListener(int socket, LastKind kind);

}  // namespace vesper::server
