// Sockets that systemd has opened for the server (sd_listen_fds(3)): its first client starts it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/address.h"

namespace vesper::server {

// Empty where no socket was passed; nullopt with a sentence where one is unfit. Of Internet sockets those whose unit says
// FileDescriptorName=tcp speak plainly, the others TLS. Call it once, before anything else opens descriptors and while there is
// one thread: it takes the variables out of the environment, so that no child takes the sockets for its own.
std::optional<std::vector<std::unique_ptr<Listener>>> PassedListeners(std::string* error);

}  // namespace vesper::server
