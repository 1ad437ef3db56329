#!/bin/bash
# packages.sh BUILD: makes the Debian packages of BUILD. Lintian finds nothing in them; in a fresh Debian they install, the
# driver is found with nothing set, offers nothing and says nothing without a server, and a GPU with the one that the
# configuration names; removed, they leave nothing. Status 77 (skipped) where no such Debian can be made.
set -euo pipefail

build=$(realpath "$1")
work=$(mktemp -d "${TMPDIR:-/tmp}/vesper-packages-XXXXXX")
trap 'rm -rf "$work"' EXIT
fail() { echo "packages.sh: $*" >&2; exit 1; }

cpack --config "$build/CPackConfig.cmake" -B "$work/made" >"$work/log" 2>&1 || { tail -40 "$work/log" >&2; fail "cpack failed"; }
packages=("$work"/made/*.deb)
[ ${#packages[@]} = 4 ] || fail "not four packages: ${packages[*]}"
# Who maintains them is for those to say who give them away (CPACK_PACKAGE_CONTACT).
lintian --fail-on error,warning --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog "${packages[@]}" || fail "lintian finds that"
# What virtual machines need, each where it is looked for.
for place in client:udev/rules.d/70-vesper.rules server:systemd/system/vesper-guest@.service tools:systemd/system/vesper-agent.service \
  server:examples/libvirt/guest.xml; do
  dpkg -c "$work"/made/vesper-"${place%%:*}"_*.deb | grep "/${place#*:}$" >/dev/null || fail "${place#*:} is not in vesper-${place%%:*}"
done

cat >"$work/inside" <<'SH'
set -eu
gpus() { vulkaninfo --summary 2>"$1" | grep -c '^GPU' || true; }
[ "$(gpus /tmp/err)" = 1 ] || { echo "without a server there is more than the local driver"; exit 1; }
! grep -i vesper /tmp/err || { echo "without a server the driver is not silent"; exit 1; }
status=0
vesper doctor >/tmp/doctor || status=$?
[ $status = 3 ] && grep -q 'next: start `vesper-server`' /tmp/doctor || { echo "without a server vesper doctor says $status"; cat /tmp/doctor; exit 1; }
vesper-server --listen unix:/run/v.sock --admin none >/tmp/log 2>&1 &
server=$!
for _ in $(seq 200); do grep -q 'listening on' /tmp/log && break; sleep 0.1; done
vesper use unix:/run/v.sock --as here
vesper servers
[ "$(gpus /tmp/err)" = 2 ] || { echo "with a server there is no second GPU"; cat /tmp/log /tmp/err; exit 1; }
vesper run -- vulkaninfo --summary | grep -c '^GPU' | grep -qx 1 || { echo "vesper run shows others"; exit 1; }
vesper doctor | tee /tmp/doctor
grep -q 'installed by the package vesper-tools' /tmp/doctor && grep -q 'a round trip' /tmp/doctor || { echo "vesper doctor says too little"; exit 1; }
vesper use tls://token@gpu.example:7700 --as far
chmod 644 /root/.config/vesper/config.toml
status=0
vesper doctor --server here >/tmp/doctor || status=$?
[ $status = 1 ] && grep -q 'chmod 600' /tmp/doctor || { echo "vesper doctor does not see tokens that others can read: $status"; exit 1; }
kill $server
wait $server
getent passwd vesper >/dev/null || { echo "there is no user vesper"; exit 1; }
for page in vesper vesper-server; do
  zcat /usr/share/man/man1/$page.1.gz | grep -q -- 'NAME' || { echo "no man page of $page"; exit 1; }
  bash -n /usr/share/bash-completion/completions/$page
done
rm -r /root/.config
apt-get -q -y purge 'vesper-*' >/dev/null
left=$(find / -xdev \( -path /proc -o -path /tmp -o -path /var/lib/apt -o -path /var/cache/apt -o -path /var/log \) -prune -o -name '*vesper*' -print)
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }
SH

mode=unshare
[ "$(id -u)" != 0 ] || mode=root
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
hooks=()
for package in "${packages[@]}"; do hooks+=("--customize-hook=copy-in $package /tmp"); done
mmdebstrap --quiet --mode=$mode --variant=apt --include=mesa-vulkan-drivers,vulkan-tools "${hooks[@]}" \
  --customize-hook='chroot "$1" sh -c "apt-get -q -y --no-install-recommends install /tmp/*.deb >/tmp/installed 2>&1 || { cat /tmp/installed; echo install failed; exit 1; }"' \
  --customize-hook="copy-in $work/inside /tmp" \
  --customize-hook='chroot "$1" bash /tmp/inside >"$1/tmp/said" 2>&1; echo $? >"$1/tmp/status"' \
  --customize-hook="copy-out /tmp/said /tmp/status $work" \
  "$suite" /dev/null >"$work/root.log" 2>&1 || {
  cat "$work/root.log" >&2
  if grep -q 'install failed' "$work/root.log"; then fail "they do not install"; fi
  echo "packages.sh: no Debian could be made here" >&2
  exit 77
}
cat "$work/said"
[ "$(cat "$work/status")" = 0 ] || fail "in a fresh Debian they do not work"
