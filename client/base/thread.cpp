#include "client/base/thread.h"

#include <pthread.h>
#include <signal.h>

namespace vesper::client {

std::thread StartWithoutSignals(FunctionRef<std::thread()> start) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    std::thread thread = start();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return thread;
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
}

}  // namespace vesper::client
