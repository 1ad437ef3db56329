#!/bin/bash
# ffmpeg's Vulkan filters chained, with overlays, in formats of one to three planes: the MD5 sum of every frame.
# apt: ffmpeg
set -euo pipefail

frames() {  # FORMAT FILTERS
  ffmpeg -nostdin -v error -init_hw_device vulkan=vk:0 -filter_hw_device vk -f lavfi -i testsrc2=s=320x240:r=10:d=0.3 \
    -f lavfi -i mandelbrot=s=96x64:r=10:maxiter=200 -filter_complex \
    "[0]format=$1,hwupload[a];[1]format=$1,hwupload[b];$2,hwdownload,format=$1" -t 0.3 -f framemd5 - |
    sed "/^#/d; s/.* //; s/^/$1 /"
}

for format in yuv444p rgba; do  # on frames of smaller chroma planes overlay_vulkan differs from run to run
  frames $format "[a][b]overlay_vulkan=x=40:y=32"
done
frames yuv444p "[b]hflip_vulkan[c];[a]avgblur_vulkan=sizeX=7:sizeY=3[d];[d][c]overlay_vulkan=x=64:y=16"
frames yuv444p "[a]gblur_vulkan=sigma=3:size=9[c];[c][b]overlay_vulkan=x=8:y=8,transpose_vulkan=dir=cclock"
frames yuv444p "[b]vflip_vulkan[c];[a][c]overlay_vulkan,chromaber_vulkan=dist_x=2:dist_y=-1,scale_vulkan=w=480:h=270"
