// How the client says thread_local: for a few bytes of trivial types, which each thread has from its start. Those of a library
// that was opened at run time are otherwise allocated at their first use, and the C library ends the process when it cannot.
#pragma once

#define VESPER_THREAD_LOCAL __attribute__((tls_model("initial-exec"))) thread_local constinit
