#!/bin/bash
# The Khronos validation layer above the driver, below ffmpeg's filters and GStreamer: what it finds (its messages by number)
# and the MD5 sums of the frames. With synchronization validation and best practices, as the layer's settings ask.
# apt: vulkan-validationlayers ffmpeg gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-bad
set -euo pipefail
export GST_REGISTRY=$PROGRAMS_CACHE/gstreamer.bin GST_VULKAN_PLATFORM=none
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/vk_layer_settings.txt" <<SETTINGS
khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG
khronos_validation.report_flags = error,warn
khronos_validation.enables = VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT,VK_VALIDATION_FEATURE_ENABLE_BEST_PRACTICES_EXT
khronos_validation.enable_message_limit = false
khronos_validation.log_filename = $work/messages
SETTINGS
export VK_LAYER_SETTINGS_PATH=$work VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation

messages() {
  [ -s "$work/messages" ] || { echo "the layer says nothing" >&2; return 1; }
  grep -o 'MessageID = 0x[0-9a-f]* | vk[A-Za-z0-9]*\|MessageID = 0x[0-9a-f]*' "$work/messages" | sort | uniq -c
  rm "$work/messages"
}

for filters in chromaber_vulkan=dist_x=2,hflip_vulkan avgblur_vulkan=sizeX=5,scale_vulkan=w=200:h=100; do
  ffmpeg -nostdin -v error -init_hw_device vulkan=vk:0 -filter_hw_device vk -f lavfi -i testsrc2=s=160x120:r=10:d=0.3 \
    -vf "format=rgba,hwupload,$filters,hwdownload,format=rgba" -f framemd5 - | sed "/^#/d; s/.* //; s/^/$filters /"
  messages
done
gst-launch-1.0 -q videotestsrc num-buffers=3 ! video/x-raw,format=RGBA,width=160,height=120 ! vulkanupload ! \
  vulkancolorconvert ! "video/x-raw(memory:VulkanImage),format=BGRx" ! vulkandownload ! video/x-raw,format=BGRx ! \
  filesink "location=$work/frames"
echo "gstreamer $(md5sum <"$work/frames")"
messages
