# shellcheck shell=bash
# Sourced by tests that run daemons in a network of their own, which nobody else reaches, in namespaces that they are in already.

until_it() {  # COMMAND...: up to 30 s
  for _ in $(seq 300); do
    "$@" && return
    sleep 0.1
  done
  return 1
}

# ADDRESS/BITS: of an interface beside the loopback, which some daemons do not count. False where none can be made.
make_network() {
  ip link set lo up
  ip link add vesper0 type dummy 2>/dev/null || ip link add vesper0 type veth peer name vesper1 2>/dev/null || return 1
  [ ! -e /sys/class/net/vesper1 ] || ip link set vesper1 up
  ip link set vesper0 multicast on up
  ip address add "$1" dev vesper0
}
