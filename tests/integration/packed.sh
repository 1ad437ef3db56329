#!/bin/bash
# packed.sh BUILD: makes a pack of BUILD (bench/pack) and uses it: every library that its programs need is in it or the C
# library's, a program runs through its driver and server, on two servers at once, and through Mesa's Venus driver where that
# can be had, and it measures itself.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
folder=$(mktemp -d "${TMPDIR:-/tmp}/vesper-packed-XXXXXX")
trap 'rm -rf "$folder"' EXIT
pack=$folder/pack
venus=--venus
"$here/../../scripts/venus-driver" "$VESPER_VENUS_DRIVER" >/dev/null 2>&1 && command -v vulkaninfo >/dev/null || venus=
"$here/../../bench/pack" $venus "$pack" "$1" >"$folder/log" || { cat "$folder/log" >&2; exit 1; }

export LD_LIBRARY_PATH=$pack/lib
elsewhere=$(find "$pack/bin" "$pack/lib" "$pack/venus-driver" -type f 2>/dev/null | xargs ldd 2>/dev/null | sed -n 's/.* => \([^ ]*\).*/\1/p' | grep -v "^$pack/" |
  grep -vE '/lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s)\.so' | sort -u || true)
[ -z "$elsewhere" ] || { printf 'packed.sh: not in the pack:\n%s\n' "$elsewhere" >&2; exit 1; }

export VESPER_SERVER_BINARY=$pack/bin/vesper-server VESPER_ICD_MANIFEST=$pack/share/vulkan/icd.d/vesper_icd.$(uname -m).json
"$pack/tests/integration/run_remote.sh" -- "$pack/bin/first_execution"
[ -z "$venus" ] || VESPER_VENUS_DRIVER=$pack/venus-driver "$pack/tests/integration/run_remote.sh" --transport venus \
  -- "$pack/bin/first_execution"
"$pack/check_several" "/usr/share/vulkan/icd.d/lvp_icd.$(uname -m).json" 64 >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }

MEASURE_RESULTS=$folder/results "$pack/measure" "/usr/share/vulkan/icd.d/lvp_icd.$(uname -m).json" --quick --rows submit.empty \
  >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
