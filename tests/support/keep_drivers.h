// For the leak checker, which runs at exit and can name (and so suppress) only libraries that are still there.
#pragma once

namespace vesper::test {

// Under AddressSanitizer: driver libraries that are loaded now stay loaded. Call it while an instance exists.
void KeepDriversLoaded();

}  // namespace vesper::test
