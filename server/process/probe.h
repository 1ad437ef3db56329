// Describes the GPUs before the server listens, and tries the sandbox. Runs in short-lived processes, so that no driver's code
// is ever loaded into the supervisor.
#pragma once

#include "server/process/options.h"

namespace vesper::server {

// Prints GPUs, drivers, versions, and extensions offered and hidden on stdout. Returns the process's exit code.
int RunProbe(const ServerOptions& options);

// Enters the sandbox of the options as a worker does. Then makes a device and a compute pipeline on each GPU and dispatches it,
// as a client would. Returns the process's exit code, which is 0 when all that works.
int RunSandboxProbe(const ServerOptions& options);

}  // namespace vesper::server
