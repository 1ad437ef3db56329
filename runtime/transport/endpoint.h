// Addresses as the kernel takes them. Connect() and Listener share it.
#pragma once

#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "runtime/address.h"
#include "runtime/resume/mender.h"
#include "runtime/transport/deadline.h"

namespace vesper::transport {

struct Endpoint {
  sockaddr_storage name{};
  socklen_t length = 0;
  const sockaddr* address() const { return reinterpret_cast<const sockaddr*>(&name); }
};

// All endpoints that `address` stands for, at least one, or none with a sentence. A name is looked
// up for no longer than `deadline`; `passive` for listening.
std::vector<Endpoint> Resolve(const Address& address, bool passive, const Deadline& deadline, std::string* error);

// A channel of a socket that was connected, which it takes, with TLS or without (`secrets` are zeros). It connects again with `dial`
// should the connection break. nullptr with a sentence.
std::unique_ptr<Channel> MakeClientChannel(int fd, const tls::Secrets& secrets, resume::Dial dial, std::string* error);

// A channel of a guest to its host.
std::unique_ptr<Channel> ConnectGuest(const Address& address, const Deadline& deadline, std::string* error);

// The directory of the default Unix address: only its owner may have made what lies in it.
std::string DefaultDirectory();
// Why `directory` cannot be trusted, or empty: it must be a directory of this user or of root.
std::string DistrustOf(const std::string& directory);

std::string SystemError(int error);

}  // namespace vesper::transport
