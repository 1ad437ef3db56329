// Confines a worker, before a client's bytes reach it, to what its driver needs. docs/security.md says against what each part
// is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vesper::server {

enum class Sandbox : uint8_t {
  kOff,     // a worker keeps the rights of whoever started the server
  kDriver,  // it has its own user and namespaces and no privileges, and may not do what no driver does
  kStrict   // it may also only use the system calls and files that the drivers known to us use
};

// nullopt for a name that is none.
std::optional<Sandbox> SandboxOf(std::string_view name);
std::string_view NameOf(Sandbox sandbox);

// Whether this build can be confined at all: sanitizers need what the sandbox takes away.
bool SandboxWorks();

// The first half, called before a driver is loaded and while the process has one thread. `user`, if not 0, becomes the process's
// user and group; the process keeps the groups that GPU devices belong to. `keep` and the standard descriptors stay open. False
// with a sentence when something that the level promises cannot be had. True with a sentence when namespaces cannot be had,
// which not every container allows.
bool EnterSandbox(Sandbox sandbox, uint32_t user, int keep, std::string* error);

// The second half, for all threads, called when the driver is loaded and before anything of a client is read.
bool SealSandbox(Sandbox sandbox, std::string* error);

}  // namespace vesper::server
