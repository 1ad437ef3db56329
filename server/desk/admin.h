// Serves admin.capnp. The only part of the server that uses Cap'n Proto's RPC.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "runtime/address.h"
#include "runtime/descriptor.h"
#include "server/desk/desk.h"

namespace vesper::server {

// Owned by the supervisor. A thread with an event loop of its own runs from Open() to the destructor and alone touches what RPC
// needs; it reaches the supervisor by way of the desk. Desk and steering live longer.
class AdminService {
 public:
  // nullptr with a sentence. Only this process's user and root can connect.
  static std::unique_ptr<AdminService> Open(const Address& address, Desk* desk, Steering* steering, std::string* error);
  ~AdminService();
  AdminService(const AdminService&) = delete;
  AdminService& operator=(const AdminService&) = delete;

 private:
  AdminService(std::unique_ptr<Listener> listener, Desk* desk, Steering* steering);
  void Run();

  const std::unique_ptr<Listener> listener_;
  Desk* const desk_;
  Steering* const steering_;
  Descriptor stop_, stopped_;  // the two ends of a pipe
  std::thread thread_;
};

}  // namespace vesper::server
