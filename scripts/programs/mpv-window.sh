#!/bin/bash
# mpv's gpu-next in a window of X, with Vulkan itself: what the screen shows of a still picture. (Under a weston without a seat mpv
# shows nothing, whatever the driver.)
# apt: mpv vulkan-tools xvfb x11-apps ffmpeg
set -euo pipefail
root=$(realpath "$(dirname "$0")/../..")
if [ $# = 0 ]; then
  exec "$root/tests/support/with_xvfb.sh" "$0" x11
fi
work=$(mktemp -d)
player=
trap '[ -z "$player" ] || kill "$player"; rm -rf "$work"' EXIT
cd "$work"
export HOME=$work
ffmpeg -v error -f lavfi -i testsrc2=s=640x480:r=1:d=1 -frames:v 1 picture.png </dev/null

screen() {  # what is on it, as a sum
  xwd -root -silent | tail -c $((1024 * 768 * 4)) | md5sum
}

empty=$(screen)
device=$(vulkaninfo --summary 2>/dev/null | sed -n 's/.*deviceName *= //p' | head -1)
mpv --no-config --vo=gpu-next --gpu-sw=yes --vulkan-device="$device" --gpu-api=vulkan "--gpu-context=$1vk" --fs \
  --image-display-duration=inf --no-osc --osd-level=0 --no-audio --dither=no --cursor-autohide=always picture.png >log 2>&1 &
player=$!
last= now=$empty
for tenths in $(seq 200); do  # until it stands still
  [ "$now" = "$empty" ] || [ "$now" != "$last" ] || break
  kill -0 $player || { cat log >&2; exit 1; }
  sleep 0.2
  last=$now
  now=$(screen)
done
[ "$now" != "$empty" ] || { echo "nothing is seen" >&2; exit 1; }
echo "$1 $now"
