#!/bin/bash
# GStreamer's Vulkan elements (upload, colour conversion by a graphics pipeline, download): the MD5 sum of every frame.
# apt: gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-bad
set -euo pipefail
export GST_REGISTRY=$PROGRAMS_CACHE/gstreamer.bin GST_VULKAN_PLATFORM=none
frames=$(mktemp)
trap 'rm -f "$frames"' EXIT

for pattern in smpte ball checkers-8; do
  for from in RGBA BGRA xRGB; do
    for to in ABGR BGRx; do
      gst-launch-1.0 -q videotestsrc "pattern=$pattern" num-buffers=10 ! "video/x-raw,format=$from,width=320,height=240" ! \
        vulkanupload ! vulkancolorconvert ! "video/x-raw(memory:VulkanImage),format=$to" ! vulkandownload ! \
        "video/x-raw,format=$to" ! filesink "location=$frames"
      echo "$pattern $from $to $(stat -c %s "$frames") $(md5sum <"$frames")"
    done
  done
done
