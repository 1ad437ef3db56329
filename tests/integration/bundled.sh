#!/bin/bash
# bundled.sh BUILD: makes a bundle (scripts/bundle), unpacks it somewhere else and uses it there, with nothing set that helps: no
# library comes from elsewhere but the C and C++ run-time libraries, and a program runs through its driver and server, by TLS too.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
work=$(mktemp -d "${TMPDIR:-/tmp}/vesper-bundled-XXXXXX")
trap 'rm -rf "$work"' EXIT
"$here/../../scripts/bundle" "$work/vesper.tar.gz" "$1" >"$work/log" || { cat "$work/log" >&2; exit 1; }
mkdir "$work/else where"
tar -C "$work/else where" -xzf "$work/vesper.tar.gz"
mv "$work/else where/vesper" "$work/elsewhere"
tree=$work/elsewhere

outside=$(env -i ldd "$tree"/bin/vesper "$tree"/bin/vesper-server "$tree"/lib/libvulkan_vesper.so | sed -n 's/.* => \([^ ]*\).*/\1/p' |
  grep -v "^$tree/" | grep -vE '/lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s)\.so' | sort -u || true)
[ -z "$outside" ] || { printf 'bundled.sh: not in the bundle:\n%s\n' "$outside" >&2; exit 1; }
env -i "$tree/bin/vesper" --version >/dev/null

export VESPER_SERVER_BINARY=$tree/bin/vesper-server VESPER_ICD_MANIFEST=$tree/share/vulkan/icd.d/vesper_icd.$(uname -m).json
for transport in unix tls; do
  "$here/run_remote.sh" --transport $transport -- "$1/bin/first_execution"
done
