// The process that serves one session. Started ahead by the supervisor, so that the loader and the
// drivers are in memory when the client comes; it gets the client's socket over `worker_fd`.
#pragma once

#include <cstdint>

#include "server/options.h"

namespace vesper::server {

// Waits for a socket, serves its session and returns the process's exit code.
int RunWorker(const ServerOptions& options);

// The supervisor's side: gives the worker its session. False when the worker is gone. The caller
// keeps its copy of the socket, which it should close.
bool HandOverSocket(int worker_fd, int socket, uint64_t session);

}  // namespace vesper::server
