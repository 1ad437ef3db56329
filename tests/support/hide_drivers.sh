#!/bin/bash
# hide_drivers.sh COMMAND...: runs COMMAND where no Vulkan driver of this machine can be loaded, so that what it sees
# can only come through the driver named by VK_ICD_FILENAMES. Every driver library named in a manifest of the usual
# folders is covered by an empty device. Works as root (also in a chroot) and as a user (with a user namespace).
# When hiding is impossible COMMAND is not run and the exit status is 99.
set -euo pipefail

fail() { echo "hide_drivers.sh: $*" >&2; exit 99; }

# The driver libraries of this machine, one a line; the Vesper driver itself stays.
driver_libraries() {
  local manifest library
  for manifest in ${VESPER_TEST_DRIVER:+"$(dirname "$VESPER_TEST_DRIVER")"/*.json} /usr/share/vulkan/icd.d/*.json /usr/local/share/vulkan/icd.d/*.json \
                  /etc/vulkan/icd.d/*.json "${HOME:-/nonexistent}"/.local/share/vulkan/icd.d/*.json; do
    [ -r "$manifest" ] || continue
    library=$(sed -n 's/.*"library_path"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p' "$manifest")
    case $library in
      '' | *libvulkan_vesper*) continue ;;
      /*) echo "$library" ;;
      */*) echo "$(dirname "$manifest")/$library" ;;
      *) (ldconfig -p 2>/dev/null || /sbin/ldconfig -p) | sed -n "s|.*[[:space:]]$library .*=> ||p" ;;
    esac
  done | sort -u
}

# Runs inside the new mount namespace.
hide_and_run() {
  local library hidden=0 probe outside=$1
  shift
  if [ "$outside" != private ]; then
    # Mounts made here must not reach the namespace that process $outside is in.
    probe=$(mktemp)
    echo probe >"$probe"
    mount --bind /dev/null "$probe" || fail "cannot bind-mount"
    if [ "$(cat "/proc/$outside/root$probe")" != probe ]; then
      umount "$probe"
      fail "mounts would be seen by the whole machine"
    fi
    umount "$probe"
    rm -f "$probe"
  fi
  for library in $(driver_libraries); do
    [ -e "$library" ] || continue
    mount --bind /dev/null "$library" || fail "cannot hide $library"
    [ "$(head -c 4 "$library" 2>/dev/null | wc -c)" = 0 ] || fail "$library is still there"
    hidden=$((hidden + 1))
  done
  [ -z "${HIDE_DRIVERS_VERBOSE:-}" ] || echo "hide_drivers.sh: $hidden drivers hidden" >&2
  exec "$@"
}

# In a chroot "/" is no mount point and cannot be made private: a private copy of it can.
run_in_copy_of_root() {
  local copy status=0
  copy=$(mktemp -d)
  mount --bind / "$copy" || fail "cannot bind-mount / (no CAP_SYS_ADMIN?)"
  mount --make-private "$copy"
  trap 'umount -R -l "$copy"; rmdir "$copy"' EXIT
  local inner
  for inner in /proc /sys /dev; do
    if mountpoint -q "$inner"; then
      mount --rbind "$inner" "$copy$inner"
      mount --make-rslave "$copy$inner"
    fi
  done
  unshare -m --propagation unchanged chroot "$copy" /bin/bash "$self" --inside $$ "$PWD" "$@" || status=$?
  exit $status
}

self=$(realpath "$0")
if [ "${1:-}" = --inside ]; then
  outside=$2
  cd "$3"
  shift 3
  hide_and_run "$outside" "$@"
fi
[ $# -gt 0 ] || fail "usage: hide_drivers.sh COMMAND..."
[ -e /proc/self/ns/mnt ] || fail "/proc is not mounted"

if [ "$(id -u)" != 0 ]; then
  unshare -Urm true 2>/dev/null ||
    fail "this user may not make user namespaces; run as root, or: sysctl kernel.unprivileged_userns_clone=1"
  exec unshare -Urm /bin/bash "$self" --inside private "$PWD" "$@"
fi
if unshare -m true 2>/dev/null; then
  exec unshare -m /bin/bash "$self" --inside private "$PWD" "$@"
fi
unshare -m --propagation unchanged true 2>/dev/null ||
  fail "unshare -m is not permitted here; give the container CAP_SYS_ADMIN"
run_in_copy_of_root "$@"
