// The process that serves one session. The supervisor starts it ahead, so that the loader and the drivers are in memory when the
// client comes. It gets the client's socket over `worker_fd`.
#pragma once

#include "server/process/options.h"

namespace vesper::server {

// Waits for a socket, serves its session and returns the process's exit code.
int RunWorker(const ServerOptions& options);

}  // namespace vesper::server
