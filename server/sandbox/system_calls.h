// The filter of system calls that a sealed worker runs under.
#pragma once

#include <string>

#include "server/sandbox/sandbox.h"

namespace vesper::server {

// Filters the system calls of all threads of the process until its end. A call that is not allowed fails with EPERM, so that a
// driver that tries it gets an error to deal with. clone3 fails with ENOSYS, since a filter cannot see its flags, and the C
// library then uses clone. False with a sentence.
bool FilterSystemCalls(Sandbox sandbox, std::string* error);

}  // namespace vesper::server
