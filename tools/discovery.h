// Servers that say on the local network where they are (DNS-SD, `_vesper._tcp`), where Avahi's avahi-browse is installed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/address.h"

namespace vesper::tools {

struct Discovered {
  std::string name;  // as it is announced, fit for a terminal
  Address address;   // tls://, without secrets: whoever announces it need not be who one thinks
};

// Takes about a second, and three at most. Empty where nobody announces anything or there is no avahi-browse.
std::vector<Discovered> DiscoverServers();
// Of what `avahi-browse --parsable --resolve` prints. Each server once.
std::vector<Discovered> ParseDiscovered(std::string_view text);

}  // namespace vesper::tools
