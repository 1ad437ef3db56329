# shellcheck shell=bash
# Sourced by scripts/demo and scripts/test: installs what is missing and builds. Works as root (in a bare chroot as well)
# and as a user with sudo.
cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/.." || exit 1
jobs=$(nproc)

step() { printf '\n== %s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "needs root for: $*"
  fi
}

# A chroot may come without /proc. What was mounted here is unmounted at the end.
mount_proc() {
  [ ! -e /proc/self/exe ] || return 0
  command -v mount >/dev/null || install_packages mount
  step "Mounting /proc"
  as_root mount -t proc proc /proc || die "cannot mount /proc; mount it and start again"
  proc_mounted=1
}
unmount_proc() {
  [ -z "${proc_mounted:-}" ] || as_root umount -l /proc
}

install_packages() {
  local package missing=()
  for package in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  step "Installing ${#missing[@]} packages: ${missing[*]}"
  command -v apt-get >/dev/null || die "not a Debian system: install what scripts/packages names by hand"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update || die "apt-get update failed"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${missing[@]}" ||
    die "apt-get install failed"
}

# The Vulkan headers that the build prefers; without them it takes the system's.
get_headers() {
  scripts/vulkan-headers --where >/dev/null && return
  step "Getting Vulkan headers"
  scripts/vulkan-headers ||
    echo "Building with the system's Vulkan headers: extensions of drivers that are newer than these will be hidden."
}

# build PRESET [TARGET...]
build() {
  local preset=$1
  shift
  if command -v ccache >/dev/null; then
    export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
    export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros
  fi
  step "Building ($preset)"
  cmake --preset "$preset" || die "configuring failed"
  NINJA_STATUS='[%f/%t %es] ' cmake --build --preset "$preset" -j "$jobs" ${1:+--target} "$@" || die "the build failed"
}

set -o pipefail
trap unmount_proc EXIT
mount_proc
mapfile -t packages < <(grep -v -e '^#' -e '^$' scripts/packages)
install_packages "${packages[@]}"
get_headers
