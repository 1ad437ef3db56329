// Virtual machines of QEMU whose programs this server serves. Each has a file, which the machine sees as memory and shares with
// the workers of its programs, and a socket, to which QEMU connects once for each port of the machine. A program opens a port
// and so has a connection of its own. No more of QEMU than these two is needed, and no driver in the guest (docs/guests.md).
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/address.h"
#include "runtime/area.h"
#include "runtime/descriptor.h"
#include "server/entry/admission.h"
#include "server/entry/local_peers.h"

namespace vesper::server {

// Owned by the supervisor, whose only thread calls it. Nothing waits for a guest.
class Guests {
 public:
  Guests() = default;
  // Removes sockets, and files that no QEMU can have open.
  ~Guests();
  Guests(const Guests&) = delete;
  Guests& operator=(const Guests&) = delete;

  // NAME[,memory=MIB][,ports=N][,venus=MIB]. Makes files and the socket in `folder`, or the default one. False with a sentence.
  bool Add(const std::string& text, const std::string& folder, const LocalPeers& peers, std::string* error);
  // On stdout, a line for each: what QEMU needs.
  void Print() const;

  void AddTo(std::vector<pollfd>* entries) const;
  // Takes ports over from QEMU, and hands on those that a program has begun to speak through.
  void Look(const LocalPeers& peers, const std::function<void(int socket, const Admission&)>& enter);
  // Memory of that guest which a program may have mapped although its session has ended: nobody else gets it until every port of
  // the guest serves or is seen to be closed, or the machine has ended.
  void Keep(uint32_t guest, Descriptor area);
  void Release(const std::function<size_t(uint32_t guest)>& sessions);
  bool waits() const;  // for Release()
  // The memory that such a program of a guest uses, opened anew, so that what is taken of it is given back with this descriptor.
  // Invalid when there is none.
  Descriptor OpenMemory(const Admission& admission) const;

 private:
  struct Guest {
    std::string name;
    std::string path;  // of the file
    std::string venus_path;
    uint32_t ports = 0;
    Descriptor file;
    Descriptor venus;  // for the files of vesper-agent; invalid: there are none
    uint64_t venus_bytes = 0;
    AreaLabel label;
    std::unique_ptr<Listener> listener;
    std::vector<Descriptor> silent;  // ports that no program has spoken through
    std::vector<Descriptor> kept;    // what is held of the file
    pid_t machine = 0;               // who connected last
  };
  static bool Parse(const std::string& text, Guest* guest, uint64_t* mebibytes, std::string* error);
  static bool MakeVenus(Guest* guest, const std::string& place, const LocalPeers& peers, std::string* error);
  static void Accept(Guest* guest, const LocalPeers& peers);

  std::vector<std::unique_ptr<Guest>> guests_;
};

}  // namespace vesper::server
