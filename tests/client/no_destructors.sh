#!/bin/sh
# no_destructors.sh NM FILE...: nothing in these libraries may be destroyed when a thread or the process ends. The program that
# the driver is a guest in calls it from handlers of atexit(), destructors of its statics and of its threads' keys, which run
# after ours would have. Objects that live as long as the process are made with new and never deleted.
nm=$1
shift
found=$("$nm" -C --undefined-only --print-file-name "$@" |
  grep -E ' (U|w) (__cxa_thread_atexit|__cxa_thread_atexit_impl|__cxa_atexit|atexit|at_quick_exit|on_exit|pthread_key_create|__tls_init|std::ios_base::Init::)')
[ -z "$found" ] && exit 0
echo "a thread_local or static object with a destructor, or a handler for the end of a thread or the process:"
echo "$found"
exit 1
