#!/bin/bash
# Qt 6 Quick on Vulkan in windows of Wayland and X: what the screen shows of a still scene.
# apt: qml-qt6 qml6-module-qtquick qml6-module-qtquick-window qml6-module-qtqml qml6-module-qtqml-models
# apt: qml6-module-qtqml-workerscript qt6-wayland weston xvfb x11-apps fonts-dejavu-core
set -euo pipefail
root=$(realpath "$(dirname "$0")/../..")
if [ $# = 0 ]; then
  "$root/tests/support/with_weston.sh" "$0" wayland
  exec "$root/tests/support/with_xvfb.sh" "$0" x11
fi
work=$(mktemp -d)
player=
trap '[ -z "$player" ] || kill "$player"; rm -rf "$work"' EXIT
cd "$work"
export HOME=$work
cat >scene.qml <<'QML'
import QtQuick
import QtQuick.Window
Window {
  visible: true; width: 400; height: 300; color: "#204060"; flags: Qt.FramelessWindowHint
  Rectangle {
    x: 40; y: 40; width: 120; height: 90; radius: 20; color: "orange"; rotation: 15; antialiasing: true
    border { width: 4; color: "white" }
    gradient: Gradient { GradientStop { position: 0; color: "red" } GradientStop { position: 1; color: "gold" } }
  }
  Text { x: 180; y: 200; text: "Vulkan"; font.pixelSize: 40; color: "lightgreen"; style: Text.Outline }
}
QML

screen() {  # what is on it, as a sum
  if [ "$1" = x11 ]; then
    xwd -root -silent | tail -c $((1024 * 768 * 4)) | md5sum
  else
    rm -f wayland-screenshot-*.png
    weston-screenshooter >/dev/null 2>&1
    md5sum <wayland-screenshot-*.png
  fi
}

empty=$(screen "$1")
platform=$1
[ "$1" = wayland ] || platform=xcb
QT_QPA_PLATFORM=$platform QSG_RHI_BACKEND=vulkan QSG_INFO=1 /usr/lib/qt6/bin/qml scene.qml >log 2>&1 &
player=$!
last= now=$empty
for tenths in $(seq 200); do  # until it stands still
  [ "$now" = "$empty" ] || [ "$now" != "$last" ] || break
  kill -0 $player || { cat log >&2; exit 1; }
  sleep 0.2
  last=$now
  now=$(screen "$1")
done
[ "$now" != "$empty" ] || { echo "nothing is seen" >&2; exit 1; }
grep -q "QRhi with backend Vulkan" log || { echo "not on Vulkan" >&2; exit 1; }
echo "$1 $now"
kill $player
wait $player || true
player=

# A program that ends as soon as a frame was shown destroys its window ahead of its swapchain.
cat >quit.qml <<'QML'
import QtQuick
import QtQuick.Window
Window {
  property int frames: 0
  visible: true; width: 400; height: 300; color: "#204060"
  onFrameSwapped: if (++frames >= 3) Qt.quit(); else update()
}
QML
for round in 1 2 3; do
  QT_QPA_PLATFORM=$platform QSG_RHI_BACKEND=vulkan timeout 60 /usr/lib/qt6/bin/qml quit.qml >log 2>&1 || { cat log >&2; exit 1; }
done
echo "$1 quits"
