// What avahi-browse prints: others on the network decide what is in it.
#include "tools/discovery.h"

#include <gtest/gtest.h>

namespace vesper::tools {
namespace {

TEST(DiscoveryTest, ServersAreTakenOnceAndNamesAreFitForATerminal) {
  const auto found = ParseDiscovered(
      "+;eth0;IPv4;gpu;_vesper._tcp;local\n"
      "=;eth0;IPv6;gpu\\032one;_vesper._tcp;local;gpu.local;fd00::7;7700;\n"
      "=;eth0;IPv4;gpu\\032one;_vesper._tcp;local;gpu.local;192.0.2.7;7700;\n"
      "=;eth0;IPv4;\\027[2Jx;_vesper._tcp;local;evil.local;192.0.2.8;7701;\"txt\"\n"
      "=;eth0;IPv4;other;_http._tcp;local;web.local;192.0.2.9;80;\n"
      "=;eth0;IPv4;bad;_vesper._tcp;local;bad.local;192.0.2.9;99999;\n"
      "=;eth0;IPv4;cut;_vesper._tcp\n");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].name, "gpu one");
  EXPECT_EQ(found[0].address.ToString(), "tls://[fd00::7]:7700");
  EXPECT_EQ(found[1].name, "?[2Jx");
  EXPECT_EQ(found[1].address.ToString(), "tls://192.0.2.8:7701");
  EXPECT_TRUE(ParseDiscovered("").empty());
}

}  // namespace
}  // namespace vesper::tools
