#!/bin/bash
# vkcube-wayland under a headless weston: that it ends after its frames, and that the screen showed them. The cube turns with
# time, so its pictures are no two times the same.
# apt: vulkan-tools weston
set -euo pipefail
root=$(realpath "$(dirname "$0")/../..")
[ -n "${WAYLAND_DISPLAY:-}" ] || exec "$root/tests/support/with_weston.sh" "$0"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

screen() {  # what is on it, as a sum
  rm -f wayland-screenshot-*.png
  weston-screenshooter >/dev/null 2>&1
  md5sum <wayland-screenshot-*.png
}

empty=$(screen)
for mode in 1 2; do  # MAILBOX, FIFO
  vkcube-wayland --c 150 --present_mode $mode >log 2>&1 &
  cube=$!
  seen=no
  while kill -0 $cube 2>/dev/null; do
    [ "$(screen)" = "$empty" ] || seen=yes
    sleep 0.05
  done
  wait $cube
  echo "mode $mode: seen $seen"
done
