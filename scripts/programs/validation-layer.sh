#!/bin/bash
# The Khronos validation layer, with synchronization validation and best practices, above the driver and below GStreamer's and
# ffmpeg's Vulkan parts: the messages it prints, counted, and the MD5 sums of the frames.
# apt: vulkan-validationlayers ffmpeg gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-bad
set -euo pipefail
export GST_REGISTRY=$PROGRAMS_CACHE/gstreamer.bin GST_VULKAN_PLATFORM=none VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation
features=VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT,VK_VALIDATION_FEATURE_ENABLE_BEST_PRACTICES_EXT
export VK_LAYER_ENABLES=$features
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

messages() {  # COMMAND...
  "$@" >"$work/log"
  grep -oE '^(VUID|UNASSIGNED|SYNC)-[A-Za-z0-9-]+\([A-Z /]+\)' "$work/log" | sort | uniq -c
}

messages gst-launch-1.0 -q videotestsrc num-buffers=3 ! video/x-raw,format=RGBA,width=160,height=120 ! vulkanupload ! \
  vulkancolorconvert ! "video/x-raw(memory:VulkanImage),format=BGRx" ! vulkandownload ! video/x-raw,format=BGRx ! \
  filesink "location=$work/frames"
echo "gstreamer $(md5sum <"$work/frames")"
messages ffmpeg -nostdin -v error -init_hw_device vulkan=vk:0 -filter_hw_device vk -f lavfi \
  -i testsrc2=s=160x120:r=10:d=0.3 -vf format=rgba,hwupload,chromaber_vulkan=dist_x=2,hflip_vulkan,hwdownload,format=rgba \
  -y -f framemd5 "$work/frames" || true  # nothing to say of ffmpeg
sed "/^#/d; s/.* //; s/^/ffmpeg /" "$work/frames"
