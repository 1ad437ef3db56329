// How a program is run for which the remote GPU is the only one: for `vesper run` and `vesper record`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/address.h"

namespace vesper::tools {

// Exit statuses, as a shell has them.
inline constexpr int kCannotRun = 126;
inline constexpr int kNotFound = 127;

// Where that program is to go, one server or several: `server` if it is said, else VESPER_SERVER, else what the configuration says of it. Empty with a
// sentence.
std::vector<Address> ChosenServers(const std::string& server, const std::string& program, std::string* error);
// The same where it can be only one.
std::optional<Address> ChosenServer(const std::string& server, const std::string& program, std::string* error);

// Sets this process's environment so that programs which it becomes see the servers' GPUs and no others: whoever runs one this
// way wants to hear why there is no GPU. False with a sentence.
bool OfferOnly(const std::vector<Address>& servers, std::string* error);

// Replaces this process by `program`. Returns a status only on failure, after a line that begins with `who`.
int Become(const char* who, const std::vector<std::string>& program);

}  // namespace vesper::tools
