// Decides who may use the server's Unix and vsock sockets. The kernel says who a peer is: the user of a process of this machine,
// or the number of a virtual machine. The mode of a Unix socket's file keeps out others as well.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace vesper::server {

// A value, which the supervisor owns. Not changed once it is made.
class LocalPeers {
 public:
  // Takes names or numbers of users and groups, and numbers of machines, "local" or "any". nullopt with a sentence.
  static std::optional<LocalPeers> Make(const std::vector<std::string>& users, const std::vector<std::string>& groups,
                                        const std::vector<std::string>& cids, std::string* error);

  // On a Unix socket true for this process's user, root, users allowed by name, and members of allowed groups; on a vsock
  // socket for allowed machines. False with the reason for others.
  bool Allows(int socket, std::string* why) const;
  bool AllowsMachine(uint32_t cid, std::string* why) const;
  // Lets a group connect to the socket's file, if others than its owner are allowed. False with a sentence.
  bool Open(const std::string& path, std::string* error) const;

 private:
  std::vector<uid_t> users_;
  std::vector<gid_t> groups_;
  std::optional<gid_t> file_group_;
  std::vector<uint32_t> cids_;
};

}  // namespace vesper::server
