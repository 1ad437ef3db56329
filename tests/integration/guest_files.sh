#!/bin/bash
# guest_files.sh BUILD: what the packages bring for virtual machines is as those want it who read it: the domain for libvirt by its
# own schema, the units by systemd's own check. Status 77 (skipped) where neither libvirt's schema nor systemd-analyze is there.
set -uo pipefail

build=$(realpath "$1")
packaging=$(dirname "$(realpath "$0")")/../../packaging
work=$(mktemp -d "${TMPDIR:-/tmp}/vesper-guest-files-XXXXXX")
trap 'rm -rf "$work"' EXIT
done=() failed=0

schema=/usr/share/libvirt/schemas/domain.rng
if [ -e "$schema" ] && command -v xmllint >/dev/null; then
  done+=("libvirt's domain")
  xmllint --noout --relaxng "$schema" "$packaging/libvirt/guest.xml" || failed=1
  # And it can fail.
  sed 's/virtio-pmem/virtio-memory/' "$packaging/libvirt/guest.xml" >"$work/wrong.xml"
  ! xmllint --noout --relaxng "$schema" "$work/wrong.xml" 2>/dev/null || { echo "the schema takes everything"; failed=1; }
fi
if command -v systemd-analyze >/dev/null; then
  done+=("units")
  # As installed, but for the programs, which are this build's.
  for unit in vesper-guest@.service vesper-agent.service; do
    sed "s#/usr/bin/vesper#$build/bin/vesper#; /^Documentation=/d" "$packaging/systemd/$unit" >"$work/$unit"
    said=$(systemd-analyze verify --man=no "$work/${unit/@./@desk.}" 2>&1) || failed=1
    # Nor may it warn of the unit.
    ! grep "$unit\|${unit/@./@desk.}" <<<"$said" || failed=1
  done
  sed -i 's/^User=/Usr=/' "$work/vesper-guest@.service"
  systemd-analyze verify --man=no "$work/vesper-guest@desk.service" 2>&1 | grep -q Usr ||
    { echo "systemd-analyze takes everything"; failed=1; }
fi
[ ${#done[@]} -gt 0 ] || { echo "skipped: neither libvirt's schema (libvirt0, libxml2-utils) nor systemd-analyze is here"; exit 77; }
printf 'checked: %s\n' "${done[@]}"
exit $failed
