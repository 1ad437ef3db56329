// The process that has the window, begun by `vesper doctor --window` and `vesper bench --window` (parent.h), which say by its
// environment what it draws with. It says a line at a time:
//
//   device NAME
//   window SYSTEM MODE WIDTH HEIGHT
//   ready                                  and goes on when it is told a line, if it is to be measured
//   done FRAMES SECONDS CPU LATENCY        seconds of CPU of this process; of latency -1 where it was not looked at
//   failed WHY                             instead of any of them
#pragma once

#include <cstdint>

namespace vesper::tools::window {

struct Work {
  uint32_t width = 500, height = 500;
  double seconds = 10;    // 0: one frame, which is in the window when `done` is said
  bool measured = false;  // as fast as it goes, without text; else as the screen wants it, with
};

// The exit status.
int Serve(const Work& work);

}  // namespace vesper::tools::window
