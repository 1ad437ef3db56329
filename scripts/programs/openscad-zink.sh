#!/bin/bash
# OpenSCAD's preview and rendered pictures: old OpenGL (fixed functions, stencil, off-screen framebuffers) on Mesa's zink in
# GLX, without a window of its own: an MD5 sum per picture.
# display: xvfb
# apt: openscad libgl1-mesa-dri xvfb xauth imagemagick
set -euo pipefail
[ -n "${DISPLAY:-}" ] || exec xvfb-run -a "$0"
export LIBGL_KOPPER_DISABLE=true MESA_LOADER_DRIVER_OVERRIDE=zink GALLIUM_DRIVER=zink LIBGL_ALWAYS_SOFTWARE=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME=$work
cat >"$work/model.scad" <<'SCAD'
difference() { cube(10, center = true); sphere(6.5, $fn = 24); }
color("tomato") translate([9, 0, 0]) cylinder(h = 12, r1 = 3, r2 = 0, $fn = 16);
for (i = [0:7]) color([i / 7, 0.3, 1 - i / 7, 0.6]) rotate(i * 45) translate([14, 0, i]) cube(3);
intersection() { translate([-9, 0, 4]) sphere(4, $fn = 20); translate([-9, 0, 5]) cube(6, center = true); }
SCAD
openscad --info | grep -q 'zink' || { echo "not on zink" >&2; exit 1; }

picture() {  # OPTIONS
  openscad -q -o "$work/picture.png" --imgsize=320,240 "$@" "$work/model.scad"
  colours=$(identify -format '%k' "$work/picture.png")
  [ "$colours" -gt 20 ] || { echo "blank" >&2; return 1; }
  echo "$* $colours $(convert "$work/picture.png" rgba:- | md5sum)"
}

picture --colorscheme=Cornfield
picture --colorscheme=Metallic --projection=ortho --camera=0,0,0,55,0,25,70
picture --view=axes,edges --camera=0,0,5,70,0,200,60
picture --view=wireframe --camera=0,0,5,40,0,100,60
picture --render --colorscheme=Starnight
