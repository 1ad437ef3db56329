#!/bin/bash
# discovery.sh VESPER SERVER DRIVER.json SERVICE: a server that Avahi announces with packaging/avahi's file is listed by `vesper servers`
# with the name and address that are announced. Runs a bus and an avahi-daemon of its own in a network of its own, which nobody else
# reaches. Status 77 (skipped) where there is no Avahi or no such network.
set -uo pipefail
vesper=$1 server=$2 driver=$3 service=$4
skip() { echo "discovery.sh: $*" >&2; exit 77; }
fail() { echo "discovery.sh: $*" >&2; cat "$work"/*.log >&2; exit 1; }
for program in avahi-daemon avahi-browse dbus-daemon ip; do
  PATH=$PATH:/usr/sbin command -v $program >/dev/null || skip "no $program"
done
if [ -z "${DISCOVERY_INSIDE:-}" ]; then
  unshare -mn true 2>/dev/null || skip "no network of one's own may be made here (needs root)"
  DISCOVERY_INSIDE=1 exec unshare -mn "$0" "$@"
fi
export PATH=$PATH:/usr/sbin
work=$(mktemp -d "${TMPDIR:-/tmp}/vesper-discovery-XXXXXX")
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$work"' EXIT
. "$(dirname "$0")/own_network.sh"

make_network 10.77.0.1/24 || skip "no interface can be made"

mkdir -p "$work/services" "$work/run"
cp "$service" "$work/services/"
mount --bind "$work/services" /etc/avahi/services
mkdir -p /run/avahi-daemon && mount --bind "$work/run" /run/avahi-daemon
cat >"$work/bus.conf" <<END
<busconfig><type>system</type><listen>unix:path=$work/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>
END
printf '%s\n' '[server]' 'host-name=gpu-machine' 'use-ipv6=no' 'allow-interfaces=vesper0' >"$work/avahi.conf"
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$work/bus
dbus-daemon --config-file="$work/bus.conf" --nofork --nopidfile >"$work/bus.log" 2>&1 &
until_it test -S "$work/bus" || fail "no bus"
avahi-daemon --file="$work/avahi.conf" --no-drop-root --no-chroot --no-rlimits >"$work/avahi.log" 2>&1 &
until_it grep -q 'Service "gpu-machine" .* successfully established' "$work/avahi.log" || fail "Avahi does not announce it"

export HOME=$work XDG_RUNTIME_DIR=$work XDG_CONFIG_HOME=$work/config
"$server" init --host gpu-machine.local --credentials "$work/trust" >"$work/init.log" 2>&1 || fail "init"
VK_DRIVER_FILES=$driver VK_ICD_FILENAMES=$driver "$server" --listen tls://10.77.0.1:7700 --credentials "$work/trust" --admin none \
  >"$work/server.log" 2>&1 &
until_it grep -q '^listening on ' "$work/server.log" || fail "the server does not listen"
"$vesper" servers | tee "$work/servers.log"
grep -q 'gpu-machine.*tls://10.77.0.1:7700' "$work/servers.log" || fail "it is not listed"
