#!/bin/bash
# GFXReconstruct: its capture layer between GStreamer's Vulkan elements and the driver, gfxrecon-replay of the capture, and a
# capture of the replay: the MD5 sum of the frames, what the capture holds, each captured call by name and result
# but those that GStreamer makes more or fewer of as time goes.
# apt: gfxreconstruct gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-bad
set -euo pipefail
export GST_REGISTRY=$PROGRAMS_CACHE/gstreamer.bin GST_VULKAN_PLATFORM=none GFXRECON_LOG_LEVEL=warning
# Its default, page faults in the memory that is mapped, fails write(2) from that memory on any driver.
export GFXRECON_CAPTURE_FILE_TIMESTAMP=false GFXRECON_MEMORY_TRACKING_MODE=unassisted
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

capture() {  # FILE COMMAND...
  VK_INSTANCE_LAYERS=VK_LAYER_LUNARG_gfxreconstruct GFXRECON_CAPTURE_FILE=$1 "${@:2}" >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; return 1; }
}

calls() {  # of the capture $1
  gfxrecon-convert --output stdout "$1" | grep -o '"vkFunc":{"name":"[A-Za-z0-9]*"\(,"return":"[A-Z_]*"\)\?' |
    sed 's/"vkFunc":{"name"://; s/"return"://; s/"//g' | grep -v 'FenceStatus\|WaitForFences\|AllocateCommandBuffers' | sort | uniq -c
}

for to in BGRx ABGR; do
  capture "$work/program.gfxr" gst-launch-1.0 -q videotestsrc num-buffers=4 ! video/x-raw,format=RGBA,width=160,height=120 ! \
    vulkanupload ! vulkancolorconvert ! "video/x-raw(memory:VulkanImage),format=$to" ! vulkandownload ! \
    "video/x-raw,format=$to" ! filesink "location=$work/frames"
  echo "$to $(stat -c %s "$work/frames") $(md5sum <"$work/frames")"
  gfxrecon-info "$work/program.gfxr" | grep -E 'Total (alloc|graphics|compute)|(Min|Max) alloc'
  calls "$work/program.gfxr" | tee "$work/calls"
  gfxrecon-replay "$work/program.gfxr"
  capture "$work/replay.gfxr" gfxrecon-replay "$work/program.gfxr"
  echo "of the replay:"
  calls "$work/replay.gfxr"
  grep -q vkCmdDraw "$work/calls"
done
