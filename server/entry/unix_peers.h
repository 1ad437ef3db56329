// Decides who may use the server's Unix sockets. The kernel says who a peer is. The mode of the socket's file keeps out others
// as well.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace vesper::server {

// A value, which the supervisor owns. Not changed once it is made.
class UnixPeers {
 public:
  // Takes names or numbers of users and groups. nullopt with a sentence.
  static std::optional<UnixPeers> Make(const std::vector<std::string>& users, const std::vector<std::string>& groups,
                                       std::string* error);

  // True for this process's user, root, users allowed by name, and members of allowed groups. False with the reason for others.
  bool Allows(int socket, std::string* why) const;
  // Lets a group connect to the socket's file, if others than its owner are allowed. False with a sentence.
  bool Open(const std::string& path, std::string* error) const;

 private:
  std::vector<uid_t> users_;
  std::vector<gid_t> groups_;
  std::optional<gid_t> file_group_;
};

}  // namespace vesper::server
