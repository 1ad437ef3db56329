// TCP connections of `vesper bench`'s own.
#pragma once

#include "runtime/address.h"
#include "runtime/descriptor.h"

namespace vesper::tools::bench {

// Connected, blocking, without delay; its buffer for what comes holds about `receive_bytes` (0: as the kernel likes). Not valid
// when nobody answers.
Descriptor DialTcp(const Address& to, int receive_bytes);
// For a socket that is not connected yet, or listens.
void PrepareTcp(int fd, int receive_bytes);

}  // namespace vesper::tools::bench
