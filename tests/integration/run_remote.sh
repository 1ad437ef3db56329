#!/bin/bash
# run_remote.sh [OPTION...] -- PROGRAM ARGUMENT...: runs PROGRAM through Vesper. Starts a server on the local driver,
# runs PROGRAM where no local driver can be loaded, stops the server, and fails if any of the three fails; on failure it
# prints what all of them said.
#   --transport unix|socket|tcp|tls|guest|venus  how PROGRAM reaches the server (unix: shared memory beside a Unix socket; socket:
#                          that alone; guest: as in a virtual machine, with a Unix socket in place of its port; venus: by Mesa's
#                          stock driver, which scripts/venus-driver puts into $VESPER_VENUS_DRIVER; without it the status is 77)
#   --validation           the validation layer on both sides; no message allowed
#   --server-validation REGEX  the validation layer in the server alone; its log has a line that matches
#   --reference            PROGRAM runs on the local driver first; its pictures are the reference
#   --compare-reports      PROGRAM's output here and through Vesper must be equal (compare_reports.py)
#   --newer-driver         the driver knows more than the registry (compare_reports.py --newer)
#   --clients N            N instances of PROGRAM at once on one server (1)
#   --server-layer NAME FOLDER  the server loads this layer; VESPER_TEST_GATE names a file for it and PROGRAM
#   --server-argument TEXT  one more argument of the server
#   --check-writes         the server looks for writes to mapped memory that it did not expect (VESPER_CHECK_WRITES)
#   --descriptors N        how many file descriptors server and PROGRAM may have (ulimit -n)
#   --server-memory KIB    how much address space each process of the server may have (ulimit -v)
#   --foreign              PROGRAM is not ours: built without our sanitizers
#   --record FOLDER        what both sides say becomes inputs of the fuzzers (tests/support/recorder.cpp)
#   --timeout SECONDS      for each run of PROGRAM (300)
# Environment: VESPER_SERVER_BINARY, VESPER_ICD_MANIFEST (both needed), VESPER_TEST_DRIVER (lavapipe's manifest),
# VESPER_SANITIZE (as in CMake), VESPER_POLICY (codegen/policy/extensions.toml), VESPER_TEST_STATISTICS (a folder
# for what each client counted; scripts/coverage reads it).
set -uo pipefail

here=$(dirname "$(realpath "$0")")
support=$here/../support
server_layer= layer_folder= record= transport=unix validation= server_says= reference= compare= newer= clients=1 foreign= limit=300
[ -z "${VESPER_SANITIZE:-}" ] || limit=560  # less than ctest's own; validation under ASan takes 90 s alone
server_arguments=() descriptors= server_memory= check_writes=
while [ $# -gt 0 ]; do
  case $1 in
    --transport) transport=$2; shift 2 ;;
    --validation) validation=1; shift ;;
    --server-validation) server_says=$2; shift 2 ;;
    --reference) reference=1; shift ;;
    --compare-reports) compare=1; shift ;;
    --newer-driver) newer=--newer; shift ;;
    --clients) clients=$2; shift 2 ;;
    --server-layer) server_layer=$2 layer_folder=$3; shift 3 ;;
    --check-writes) check_writes=1; shift ;;
    --server-argument) server_arguments+=("$2"); shift 2 ;;
    --descriptors) descriptors=$2; shift 2 ;;
    --server-memory) server_memory=$2; shift 2 ;;
    --foreign) foreign=1; shift ;;
    --record) record=$2 transport=tcp; shift 2 ;;
    --timeout) limit=$2; shift 2 ;;
    --) shift; break ;;
    *) echo "run_remote.sh: unknown option $1" >&2; exit 2 ;;
  esac
done
[ $# -gt 0 ] || { echo "run_remote.sh: no program" >&2; exit 2; }
program=("$@")
if [ "$transport" = venus ]; then
  "$here/../../scripts/venus-driver" "${VESPER_VENUS_DRIVER:?}" >/dev/null ||
    { echo "run_remote.sh: Mesa's driver cannot be had: no network?"; exit 77; }
fi
server_binary=${VESPER_SERVER_BINARY:?} manifest=${VESPER_ICD_MANIFEST:?}
driver=${VESPER_TEST_DRIVER:-/usr/share/vulkan/icd.d/lvp_icd.x86_64.json}
layer=VK_LAYER_KHRONOS_validation

work=$(mktemp -d "${TMPDIR:-/tmp}/vesper-run-XXXXXX")
guest=$(mktemp -d /dev/shm/vesper-run-XXXXXX)
server_pid= recorder_pid= client_pids=() failures=()

fail() { failures+=("$*"); }

tag=VESPER_TEST_TAG=$work  # in the environment of server and clients, which can so be found afterwards
export TSAN_OPTIONS="suppressions=$support/tsan.supp:allocator_may_return_null=1"
export LSAN_OPTIONS="suppressions=$support/lsan.supp:print_suppressions=0"
export ASAN_OPTIONS=allocator_may_return_null=1  # tests allocate until the driver says no
export UBSAN_OPTIONS=print_stacktrace=1

cleanup() {
  local pid
  for pid in $(leftover_processes); do
    kill -KILL "$pid" 2>/dev/null
  done
  rm -rf "$work" "$guest"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# Waits up to $1 tenths of a second until the rest succeeds.
wait_until() {
  local tenths=$1
  shift
  while ! "$@"; do
    [ $((tenths -= 1)) -gt 0 ] || return 1
    sleep 0.1
  done
}

start_server() {
  local arguments=(--admin none ${server_arguments[@]+"${server_arguments[@]}"}) listen=unix:$work/server.sock
  case $transport in tcp | tls) listen=$transport://127.0.0.1:0 ;; esac
  [ "$transport" != guest ] || arguments+=(--guest "it,memory=256,ports=16" --guest-folder "$guest")
  if [ "$transport" = tls ]; then
    "$server_binary" init --host localhost --credentials "$work/trust" >"$work/init.out" 2>&1
    arguments+=(--credentials "$work/trust")
  fi
  [ "$transport" != venus ] || arguments+=(--venus "unix:$work/venus.sock")
  [ -z "$validation$server_says" ] || arguments+=(--validation)
  [ -z "$check_writes" ] || export VESPER_CHECK_WRITES=1
  if [ -n "$server_layer" ]; then
    export VESPER_TEST_GATE=$work/gate
    set -- "VK_INSTANCE_LAYERS=$server_layer" "VK_LAYER_PATH=$layer_folder"
    arguments+=(--sandbox off)  # a confined worker does not see the gate, and trials would stand before it
  fi
  : >"$work/server.out"
  (
    [ -z "$server_memory" ] || ulimit -v "$server_memory"
    exec env "$tag" "$@" "VK_ICD_FILENAMES=$driver" "VK_DRIVER_FILES=$driver" \
      "$server_binary" --listen "$listen" --pipelines "$work/pipelines" ${arguments[@]+"${arguments[@]}"} >"$work/server.out" 2>"$work/server.err"
  ) &
  server_pid=$!
  is_listening_or_gone() { grep -q '^listening on ' "$work/server.out" || ! kill -0 $server_pid 2>/dev/null; }
  wait_until 600 is_listening_or_gone || true
  address=$(sed -n 's/^listening on //p' "$work/server.out" | head -1)
  # What `vesper-server init` says to paste, with the port that was found.
  [ "$transport" != tls ] || address=$(sed -n "s|^paste.*'\(tls://.*@\).*#\(.*\)'|\1${address#tls://}#\2|p" "$work/init.out")
  [ "$transport" != guest ] || [ -z "$address" ] || address=guest:$guest/it.sock,$guest/it.mem
  [ -n "$address" ] && return
  fail "the server does not listen"
  return 1
}

# Puts the recorder between clients and server.
start_recorder() {
  [ -n "$record" ] || return 0
  : >"$work/recorder.out"
  env "$tag" "$(dirname "$server_binary")/vesper_recorder" tcp://127.0.0.1:0 "$address" "$record" >"$work/recorder.out" &
  recorder_pid=$!
  wait_until 100 grep -q '^listening on ' "$work/recorder.out" || { fail "the recorder does not listen"; return 1; }
  address=$(sed -n 's/^listening on //p' "$work/recorder.out")
}

# Ends the server and checks that it went cleanly: status 0, no process and no socket left.
stop_server() {
  local status=0
  [ -n "$server_pid" ] || return
  if ! kill -0 "$server_pid" 2>/dev/null; then
    wait "$server_pid" || status=$?
    server_pid=
    fail "the server ended by itself with status $status"
    return
  fi
  kill -TERM "$server_pid"
  is_gone() { ! kill -0 "$server_pid" 2>/dev/null; }
  wait_until 300 is_gone || { fail "the server does not end at SIGTERM"; kill -KILL "$server_pid"; }
  wait "$server_pid" || status=$?
  server_pid=
  [ "$status" = 0 ] || fail "the server ended with status $status"
  none_left() { [ -z "$(leftover_processes)" ]; }
  wait_until 30 none_left || fail "processes of the server are left: $(leftover_processes)"
  [ ! -e "$work/server.sock" ] && [ ! -e "$work/venus.sock" ] || fail "the server left its socket"
  [ -z "$(ls "$guest")" ] || fail "the server left files of its guest"
}

# Whatever this test started and still runs.
leftover_processes() {
  grep -laF "$tag" /proc/[0-9]*/environ 2>/dev/null | tr -dc '0-9\n'
}

# The sanitizer's runtime, for programs that were not linked with it but load our driver.
preload() {
  [ -n "$foreign" ] || return
  case ${VESPER_SANITIZE:-} in
    *address*) echo "LD_PRELOAD=$(gcc -print-file-name=libasan.so)"; echo ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 ;;
    *thread*) echo "LD_PRELOAD=$(gcc -print-file-name=libtsan.so)" ;;
  esac
}

run_reference() {
  mkdir "$work/reference"
  VK_ICD_FILENAMES=$driver VK_DRIVER_FILES=$driver VULKAN_TEST_PICTURES=$work/reference timeout "$limit" \
    "${program[@]}" >"$work/reference.out" 2>"$work/reference.err" || fail "on the local driver: status $?"
}

run_clients() {
  local settings=("TMPDIR=$work" "VESPER_SERVER=$address" "VK_ICD_FILENAMES=$manifest" "VK_DRIVER_FILES=$manifest") i pid
  case $transport in
    unix) settings+=("VESPER_TRANSPORT=ring") ;;
    socket) settings+=("VESPER_TRANSPORT=socket") ;;
    venus)
      settings+=("VK_ICD_FILENAMES=$VESPER_VENUS_DRIVER/venus.json" "VK_DRIVER_FILES=$VESPER_VENUS_DRIVER/venus.json"
        "LD_LIBRARY_PATH=$VESPER_VENUS_DRIVER/usr/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" VN_DEBUG=vtest
        "VTEST_SOCKET_NAME=$work/venus.sock" "ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0")
      ;;
  esac
  [ -z "$validation" ] || settings+=("VK_INSTANCE_LAYERS=$layer")
  [ -z "$reference" ] || settings+=("VULKAN_TEST_REFERENCES=$work/reference")
  mapfile -t -O ${#settings[@]} settings < <(preload)
  for i in $(seq "$clients"); do
    [ -z "${VESPER_TEST_STATISTICS:-}" ] || settings+=("VESPER_STATS=$VESPER_TEST_STATISTICS/${work##*/}.$i.json")
    env "$tag" timeout "$limit" "$support/hide_drivers.sh" env "${settings[@]}" "${program[@]}" \
      >"$work/client$i.out" 2>"$work/client$i.err" &
    client_pids+=($!)
  done
  for pid in "${client_pids[@]}"; do
    wait "$pid" || fail "a client ended with status $? (124: too slow, 99: drivers could not be hidden)"
  done
  client_pids=()
}

check_validation() {
  ! grep -h 'validation: ' "$work"/client*.err >/dev/null || fail "validation messages in the client"
  ! grep -h 'validation: ' "$work/server.out" "$work/server.err" >/dev/null ||
    fail "validation messages in the server"
  grep -qh '[^0-9]0 validation messages' "$work/server.out" "$work/server.err" ||
    fail "the server does not say that it counted 0 validation messages"
}

check_writes() {
  ! grep -h 'no submit was known to write' "$work/server.out" "$work/server.err" >/dev/null ||
    fail "memory changed that no submit was known to write"
  grep -qh ' compared, 0 missed' "$work/server.out" "$work/server.err" || fail "the server does not say that it missed nothing"
}

# Workers say it when their session ends, which may be after the client.
check_server_said() {
  server_said() { grep -qhE -e "$server_says" "$work/server.err"; }
  wait_until 50 server_said || fail "the server does not say $server_says"
}

report() {
  local file
  if [ ${#failures[@]} = 0 ]; then
    cat "$work"/client1.out
    exit 0
  fi
  for file in "$work"/*.out "$work"/*.err; do
    [ -s "$file" ] || continue
    echo "---- $(basename "$file")"
    tail -n 200 "$file"
  done
  echo "----"
  printf 'run_remote.sh: %s\n' "${failures[@]}"
  exit 1
}

[ -z "$descriptors" ] || ulimit -n "$descriptors"
if start_server && start_recorder; then
  [ -z "$reference$compare" ] || run_reference
  run_clients
  if [ -n "$compare" ]; then
    "$support/compare_reports.py" $newer --policy "${VESPER_POLICY:?}" "$work/reference.out" "$work/client1.out" \
      >"$work/compare.out" 2>&1 || fail "the reports differ"
  fi
fi
if [ -n "$recorder_pid" ]; then
  kill -TERM "$recorder_pid"
  wait "$recorder_pid" || fail "the recorder ended with status $?"
fi
[ -z "$server_says" ] || check_server_said
stop_server
[ -z "$validation" ] || check_validation
[ -z "$check_writes" ] || check_writes
report
