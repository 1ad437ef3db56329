#!/bin/bash
# GStreamer's OpenGL elements (sources, shaders, effects, geometry, mixing, conversion) on Mesa's zink, off-screen in GLX:
# the MD5 sum of every video.
# display: xvfb
# apt: gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-gl libgl1-mesa-dri xvfb xauth
set -euo pipefail
[ -n "${DISPLAY:-}" ] || exec xvfb-run -a "$0"
export GST_REGISTRY=$PROGRAMS_CACHE/gstreamer-gl.bin GST_GL_PLATFORM=glx GST_GL_WINDOW=x11 GST_GL_API=opengl3
export LIBGL_KOPPER_DISABLE=true MESA_LOADER_DRIVER_OVERRIDE=zink GALLIUM_DRIVER=zink LIBGL_ALWAYS_SOFTWARE=1
frames=$(mktemp)
trap 'rm -f "$frames"' EXIT

video() {  # NAME ELEMENT...: from a source to a file
  local name=$1
  shift
  gst-launch-1.0 -q "$@" ! gldownload ! video/x-raw,format=RGBA ! filesink "location=$frames"
  [ "$(stat -c %s "$frames")" -ge 384000 ] || { echo "$name: short" >&2; return 1; }
  echo "$name $(stat -c %s "$frames") $(md5sum <"$frames")"
}

size="video/x-raw,width=160,height=120"
source="videotestsrc num-buffers=5 ! $size,format=RGBA ! glupload"
for pattern in smpte mandelbrot checkers-8; do
  video "source $pattern" gltestsrc "pattern=$pattern" num-buffers=5 ! "${size/raw/raw(memory:GLMemory)}"
done
for effect in mirror squeeze fisheye twirl bulge heat sepia sin glow blur xray; do
  video "effect $effect" $source ! gleffects "effect=$effect"
done
for element in "glcolorbalance hue=0.4 saturation=1.5" "gltransformation rotation-z=0.5 scale-x=0.7" \
  "glvideoflip method=clockwise" "glfiltercube" "glcolorscale ! ${size/raw,width=160,height=120/raw(memory:GLMemory),width=320,height=240}"; do
  video "$element" $source ! $element
done
for format in NV12 I420 YUY2 BGRx; do
  video "from $format" videotestsrc num-buffers=5 ! "$size,format=$format" ! glupload ! glcolorconvert
done
