#!/bin/bash
# with_xvfb.sh PROGRAM ARGUMENT...: runs PROGRAM with an X server of its own, which keeps its pictures in memory and ends with
# it. Exit status: PROGRAM's, or 98 when there is no X server. XVFB_OPTIONS: more options of Xvfb.
set -uo pipefail

folder=$(mktemp -d "${TMPDIR:-/tmp}/vesper-xvfb-XXXXXX")
server=
cleanup() {
  [ -z "$server" ] || { kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; }
  rm -rf "$folder"
}
trap cleanup EXIT
mkfifo "$folder/display"
Xvfb -displayfd 3 -screen 0 1024x768x24 -nolisten tcp -noreset ${XVFB_OPTIONS:-} 3<>"$folder/display" >"$folder/log" 2>&1 &
server=$!
number=
read -r -t 30 number <>"$folder/display"
[ -n "$number" ] || { cat "$folder/log" >&2; exit 98; }
DISPLAY=:$number "$@"
