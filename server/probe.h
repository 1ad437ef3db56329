// What the server says about its GPUs before it listens; run in a short-lived process, so that no
// driver code is ever loaded into the supervisor.
#pragma once

#include "server/options.h"

namespace vesper::server {

// Prints GPUs, drivers, versions, extensions offered and hidden on stdout. Returns the process's
// exit code.
int RunProbe(const ServerOptions& options);

}  // namespace vesper::server
