// For loops that look for something another thread is about to do.
#pragma once

namespace vesper {

// Gives what the processor's other thread shares with this one to that for a moment.
inline void Relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace vesper
