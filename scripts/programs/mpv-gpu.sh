#!/bin/bash
# mpv's renderer (vo_gpu as a filter: scalers, debanding, dither, tone mapping, colour management) on Mesa's zink in EGL,
# encoding off-screen: the MD5 sum of every frame.
# display: xvfb
# apt: mpv libegl1 libegl-mesa0 libgl1-mesa-dri xvfb xauth
set -euo pipefail
[ -n "${DISPLAY:-}" ] || exec xvfb-run -a "$0"
export LIBGL_KOPPER_DISABLE=true MESA_LOADER_DRIVER_OVERRIDE=zink GALLIUM_DRIVER=zink LIBGL_ALWAYS_SOFTWARE=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME=$work

frames() {  # OPTIONS
  mpv --no-config --no-audio -v "av://lavfi:testsrc2=s=160x120:r=10:d=0.3" --vf=gpu=w=320:h=240 "$@" "--o=$work/frames" \
    --of=framemd5 --ovc=rawvideo >"$work/log" 2>&1
  grep -q "GL_RENDERER='zink" "$work/log" || { echo "not on zink" >&2; return 1; }
  sed "/^#/d; s/.* //; s/^/$* /" "$work/frames"
}

frames --scale=bilinear
frames --scale=ewa_lanczos --cscale=spline36 --dither=no
frames --deband --deband-iterations=3 --deband-grain=0 --dither=ordered
frames --target-trc=linear --target-prim=bt.2020 --gamma=20 --saturation=30
frames --vf-append=format=gamma=pq:primaries=bt.2020 --tone-mapping=hable
