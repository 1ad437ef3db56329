#!/bin/bash
# ffmpeg's libplacebo filter (a renderer in compute and graphics pipelines: scaling, tone mapping, debanding, dither):
# the MD5 sum of every frame.
# apt: ffmpeg
set -euo pipefail

frames() {  # SIZE SECONDS FORMAT OPTIONS
  ffmpeg -nostdin -v error -init_hw_device vulkan=vk:0 -filter_hw_device vk -f lavfi -i "testsrc2=s=$1:r=10:d=$2" \
    -vf "format=$3,hwupload,libplacebo=$4,hwdownload,format=$3" -f framemd5 - | sed "/^#/d; s/.* //; s/^/$3 /"
}

frames 320x240 0.5 yuv420p w=640:h=480:upscaler=ewa_lanczos
frames 640x480 0.5 yuv420p w=160:h=120:downscaler=mitchell
frames 320x240 0.5 yuv444p deband=true:deband_iterations=2:dithering=-1
frames 320x240 0.3 yuv420p colorspace=bt709:color_primaries=bt2020:color_trc=smpte2084:range=tv:dithering=-1
frames 320x240 0.3 yuv420p brightness=0.1:contrast=1.2:saturation=0.7:hue=0.5:gamma=1.1
