// Finds changes by the kernel's own account of written pages: userfaultfd write protection in its asynchronous mode, read and
// re-armed by PAGEMAP_SCAN (Linux 6.7; works for ordinary users where seccomp allows userfaultfd). What was not written costs
// nothing, and the twin only has pages that differ from zero.
#pragma once

#include <memory>
#include <string>

#include "client/tracking/tracker.h"

namespace vesper::client {

// Tries it out once per process. False with a reason.
bool UffdWorks(std::string* why);
// nullptr when the kernel refuses. May throw std::bad_alloc.
std::unique_ptr<Tracker> MakeUffdTracker(uint64_t size);
// In the child of a fork.
void AbandonUffdAfterFork() noexcept;

}  // namespace vesper::client
