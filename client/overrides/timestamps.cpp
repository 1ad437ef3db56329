// Calibrated timestamps: the host's time domains are the clock of the application's machine, the device's comes from the server.
// Both cannot be read at one moment; the time that the question took widens the deviation (VK_EXT_calibrated_timestamps).
#include <time.h>

#include <vector>

#include "client/overrides/guard.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"

namespace vesper::client::overrides {
namespace {

// -1 for domains that are no clock of this machine.
int ClockOf(VkTimeDomainEXT domain) {
  if (domain == VK_TIME_DOMAIN_CLOCK_MONOTONIC_EXT) return CLOCK_MONOTONIC;
  if (domain == VK_TIME_DOMAIN_CLOCK_MONOTONIC_RAW_EXT) return CLOCK_MONOTONIC_RAW;
  return -1;
}

uint64_t Nanoseconds(int clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

VKAPI_ATTR VkResult VKAPI_CALL GetCalibratedTimestampsEXT(VkDevice device, uint32_t timestampCount,
                                                          const VkCalibratedTimestampInfoEXT* pTimestampInfos,
                                                          uint64_t* pTimestamps, uint64_t* pMaxDeviation) {
  return Guarded([&] {
    std::vector<VkCalibratedTimestampInfoEXT> asked;
    for (uint32_t i = 0; i < timestampCount; ++i) {
      if (ClockOf(pTimestampInfos[i].timeDomain) < 0) asked.push_back(pTimestampInfos[i]);
    }
    std::vector<uint64_t> answers(asked.size());
    uint64_t deviation = 0;
    const uint64_t before = Nanoseconds(CLOCK_MONOTONIC_RAW);
    if (!asked.empty()) {
      const VkResult result = entry::GetCalibratedTimestampsEXT(device, static_cast<uint32_t>(asked.size()),
                                                                asked.data(), answers.data(), &deviation);
      if (result < 0) return result;
    }
    size_t next = 0;
    for (uint32_t i = 0; i < timestampCount; ++i) {
      const int clock = ClockOf(pTimestampInfos[i].timeDomain);
      pTimestamps[i] = clock < 0 ? answers[next++] : Nanoseconds(clock);
    }
    *pMaxDeviation = deviation + (Nanoseconds(CLOCK_MONOTONIC_RAW) - before);
    return VK_SUCCESS;
  });
}

}  // namespace vesper::client::overrides
