#include "server/entry/local_peers.h"

#include <fmt/core.h>
#include <grp.h>
#include <pwd.h>
#include <sys/socket.h>
// after it, whose types it uses
#include <linux/vm_sockets.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "runtime/address.h"
#include "server/base/limits.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

namespace vesper::server {
namespace {

constexpr mode_t kGroupMode = 0660;  // of a socket that a group may connect to

std::optional<uint32_t> Number(const std::string& text) {
  uint32_t number = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  return status == std::errc() && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

std::vector<gid_t> GroupsOfPeer(int socket) {
  std::vector<gid_t> groups(limits::kUsualGroups);
  for (;;) {
    auto length = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    const int status = getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &length);
    if (status == 0) {
      groups.resize(length / sizeof(gid_t));
      return groups;
    }
    if (errno != ERANGE || groups.size() >= limits::kMaxGroups) return {};
    groups.resize(length / sizeof(gid_t));
  }
}

template <typename Value>
bool Has(const std::vector<Value>& all, Value value) {
  return std::find(all.begin(), all.end(), value) != all.end();
}

}  // namespace

std::optional<LocalPeers> LocalPeers::Make(const std::vector<std::string>& users,
                                           const std::vector<std::string>& groups, const std::vector<std::string>& cids,
                                           std::string* error) {
  LocalPeers peers;
  for (const std::string& cid : cids) {  // as addresses write them
    const std::optional<Address> address = ParseAddress("vsock://" + cid + ":0", error);
    if (!address) {
      *error = fmt::format("--allow-cid {}: write the number of a machine, local or any", cid);
      return std::nullopt;
    }
    peers.cids_.push_back(address->cid);
  }
  for (const std::string& name : groups) {
    const group* found = getgrnam(name.c_str());
    const std::optional<gid_t> number = found != nullptr ? std::optional(found->gr_gid) : Number(name);
    if (!number) {
      *error = fmt::format("--allow-group {}: there is no such group", name);
      return std::nullopt;
    }
    peers.groups_.push_back(*number);
    if (!peers.file_group_) peers.file_group_ = number;
  }
  for (const std::string& name : users) {
    const passwd* found = getpwnam(name.c_str());
    const std::optional<uid_t> number = found != nullptr ? std::optional(found->pw_uid) : Number(name);
    if (!number) {
      *error = fmt::format("--allow-user {}: there is no such user", name);
      return std::nullopt;
    }
    peers.users_.push_back(*number);
    if (found == nullptr) found = getpwuid(*number);
    if (found != nullptr && !peers.file_group_) peers.file_group_ = found->pw_gid;
  }
  return peers;
}

bool LocalPeers::AllowsMachine(uint32_t cid, std::string* why) const {
  if (Has(cids_, cid) || Has(cids_, Address::kAnyCid)) return true;
  *why = fmt::format("machine {} may not use this server: start it with --allow-cid {}", cid, cid);
  return false;
}

bool LocalPeers::Allows(int socket, std::string* why) const {
  sockaddr_storage name{};
  socklen_t length = sizeof(name);
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&name), &length) == 0 && name.ss_family == AF_VSOCK) {
    return AllowsMachine(reinterpret_cast<const sockaddr_vm&>(name).svm_cid, why);
  }
  ucred peer{};
  length = sizeof(peer);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
    *why = std::string("the kernel does not say who the client is: ") + std::strerror(errno);
    return false;
  }
  if (peer.uid == 0 || peer.uid == geteuid() || Has(users_, peer.uid) || Has(groups_, peer.gid)) return true;
  for (const gid_t group : groups_.empty() ? std::vector<gid_t>() : GroupsOfPeer(socket)) {
    if (Has(groups_, group)) return true;
  }
  *why = fmt::format("user {} may not use this server: start it with --allow-user or --allow-group", peer.uid);
  return false;
}

bool LocalPeers::Open(const std::string& path, std::string* error) const {
  if (!file_group_) return true;
  if (chown(path.c_str(), static_cast<uid_t>(-1), *file_group_) == 0 && chmod(path.c_str(), kGroupMode) == 0)
    return true;
  *error = fmt::format("{} cannot be opened to group {}: {}", path, *file_group_, std::strerror(errno));
  return false;
}

}  // namespace vesper::server
