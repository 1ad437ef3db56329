#!/bin/bash
# venus_killed.sh PROGRAM ARGUMENT...: PROGRAM runs by Mesa's Venus driver, which scripts/venus-driver puts into $VESPER_VENUS_DRIVER
# (without it the status is 77), and is killed at one moment after another. Each time the worker ends with status 0, and none is left.
# Environment: as of run_remote.sh.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
"$here/../../scripts/venus-driver" "${VESPER_VENUS_DRIVER:?}" >/dev/null || { echo "Mesa's driver cannot be had: no network?"; exit 77; }
driver=${VESPER_TEST_DRIVER:-/usr/share/vulkan/icd.d/lvp_icd.x86_64.json} rounds=20
work=$(mktemp -d "${TMPDIR:-/tmp}/vesper-killed-XXXXXX")
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
fail() { echo "venus_killed.sh: $*"; tail -n 40 "$work/err"; exit 1; }

touch "$work/out"
VK_ICD_FILENAMES=$driver VK_DRIVER_FILES=$driver "${VESPER_SERVER_BINARY:?}" --admin none --listen "unix:$work/own.sock" \
  --venus "unix:$work/venus.sock" >"$work/out" 2>"$work/err" &
server=$!
for _ in $(seq 600); do [ "$(grep -c '^listening on ' "$work/out")" = 2 ] && break; sleep 0.1; done

for ((round = 1; round <= rounds; ++round)); do
  env "VK_ICD_FILENAMES=$VESPER_VENUS_DRIVER/venus.json" "VK_DRIVER_FILES=$VESPER_VENUS_DRIVER/venus.json" VN_DEBUG=vtest \
    "VTEST_SOCKET_NAME=$work/venus.sock" "LD_LIBRARY_PATH=$VESPER_VENUS_DRIVER/usr/lib/x86_64-linux-gnu" "$@" >"$work/client" 2>&1 &
  client=$!
  # It has a session, and is somewhere in it.
  for _ in $(seq 300); do [ "$(grep -c 'Mesa Venus' "$work/err")" -ge "$round" ] && break; sleep 0.05; done
  sleep "0.$((round * 37 % 90 + 10))"
  { kill -KILL "$client" && wait "$client"; } 2>/dev/null || true
done

begun() { grep -c 'session .*(Mesa Venus)' "$work/err" || true; }
ended() { grep -c ' ended with ' "$work/err" || true; }
for _ in $(seq 200); do [ "$(ended)" -ge "$(begun)" ] && break; sleep 0.1; done
[ "$(begun)" -ge "$rounds" ] || fail "only $(begun) of $rounds clients had a session"
# A client may have been killed before it said its name.
[ "$(ended)" -ge "$(begun)" ] || fail "of $(begun) workers $(ended) ended"
! grep ' ended with ' "$work/err" | grep -v 'exit status 0' || fail "a worker did not end well"
kill "$server"
wait "$server" || fail "the server ended with status $?"
server=
[ ! -e "$work/venus.sock" ] || fail "the server left its socket"
echo "$(grep -c ' ended with exit status 0' "$work/err") sessions"
