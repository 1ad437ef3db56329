// Settings of the person who runs a program, from its environment. Everything in client/ and runtime/ that heeds a variable
// asks here.
#pragma once

#include <cstdlib>

namespace vesper {

// nullptr when it is not set, empty, or the program has more rights than whoever started it (set-user-ID and the like): then
// nobody without those rights chooses its server or the files that it writes.
inline const char* Setting(const char* name) noexcept {
  const char* value = ::secure_getenv(name);
  return value == nullptr || *value == '\0' ? nullptr : value;
}

}  // namespace vesper
