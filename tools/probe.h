// Whether a server takes sessions.
#pragma once

#include <string>

#include "runtime/address.h"

namespace vesper::tools {

// Asks without beginning a session, and without credentials. What it answers otherwise, or why it does not, is in `error`.
bool TakesSessions(Address server, std::string* error);

}  // namespace vesper::tools
