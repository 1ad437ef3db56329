#!/bin/bash
# with_weston.sh PROGRAM ARGUMENT...: runs PROGRAM with a Wayland compositor of its own (weston, headless, drawn by the CPU), which
# shows nothing but windows on a screen of 800×600 and ends with it; weston-screenshooter may look. Exit status: PROGRAM's, or 98
# when there is no compositor. WESTON_BACKEND=x11: in a window of an X server, which gives it keyboard and mouse, as some programs need.
set -uo pipefail

folder=$(mktemp -d "${TMPDIR:-/tmp}/vesper-weston-XXXXXX")
server=
cleanup() {
  [ -z "$server" ] || { kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; }
  rm -rf "$folder"
}
trap cleanup EXIT
chmod 700 "$folder"
export XDG_RUNTIME_DIR=$folder WAYLAND_DISPLAY=vesper-test
cat >"$folder/weston.ini" <<'END'
[shell]
panel-position=none
background-color=0xff102030
animation=none
startup-animation=none
close-animation=none
locking=false
END
weston --backend="${WESTON_BACKEND:-headless}-backend.so" --use-pixman --width=800 --height=600 --config="$folder/weston.ini" --idle-time=0 --debug \
  --socket=vesper-test >"$folder/log" 2>&1 </dev/null &
server=$!
for tenths in $(seq 300); do
  [ ! -S "$folder/vesper-test" ] || break
  kill -0 "$server" 2>/dev/null || break
  sleep 0.1
done
[ -S "$folder/vesper-test" ] || { cat "$folder/log" >&2; exit 98; }
unset DISPLAY
"$@"
