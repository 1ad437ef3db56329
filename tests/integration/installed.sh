#!/bin/bash
# installed.sh BUILD: installs BUILD into a folder of its own and uses what is there, from elsewhere than the build: every
# program starts, a C program compiles and links, and a product is computed through the installed driver and server.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
build=$(realpath "$1")
prefix=$(mktemp -d "${TMPDIR:-/tmp}/vesper-installed-XXXXXX")
trap 'rm -rf "$prefix"' EXIT

cmake --install "$build" --prefix "$prefix" >"$prefix/log" || { cat "$prefix/log" >&2; exit 1; }
for program in vesper vesper-agent vesper-server vesper-filter vesper-matmul vesper-roofline; do
  "$prefix/bin/$program" --help >/dev/null || { echo "installed.sh: $program does not start" >&2; exit 1; }
done

cat >"$prefix/user.c" <<'C'
#include <rt_vk.h>
int main(void) { return rt_vk_is_available() ? 0 : 1; }
C
sanitizers=${VESPER_SANITIZE:-}
cc "$prefix/user.c" -o "$prefix/user" ${sanitizers:+"-fsanitize=${sanitizers//;/,}"} -I"$prefix/include" -L"$prefix/lib" -lvesper-compute -Wl,-rpath,"$prefix/lib"

export VESPER_SERVER_BINARY=$prefix/bin/vesper-server
export VESPER_ICD_MANIFEST=$prefix/share/vulkan/icd.d/vesper_icd.$(uname -m).json
"$here/run_remote.sh" -- "$prefix/user"
"$here/run_remote.sh" -- "$prefix/bin/vesper-matmul" 64 --verify
