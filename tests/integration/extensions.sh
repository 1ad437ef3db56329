#!/bin/bash
# extensions.sh BUILD: extension_tests through Vesper on the lavapipe that scripts/venus-driver brings, which has what Debian 12's lacks,
# and ray tracing, mesh shaders, shader objects, descriptor buffers and maintenance 5 to 8 are not skipped. Status 77 (skipped)
# where it cannot be had.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
build=$(realpath "$1")
work=$(mktemp -d "${TMPDIR:-/tmp}/vesper-extensions-XXXXXX")
trap 'rm -rf "$work"' EXIT
"$here/../../scripts/venus-driver" "$VESPER_VENUS_DRIVER" >/dev/null 2>&1 || { echo "extensions.sh: no newer lavapipe here" >&2; exit 77; }
libraries=$VESPER_VENUS_DRIVER/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} VESPER_TEST_DRIVER=$work/lavapipe.json
echo "{\"file_format_version\": \"1.0.0\", \"ICD\": {\"library_path\": \"$libraries/libvulkan_lvp.so\", \"api_version\": \"1.4.305\"}}" >"$VESPER_TEST_DRIVER"
for transport in unix tcp; do
  "$here/run_remote.sh" --transport $transport -- "$build/bin/extension_tests" | tee "$work/said"
  passed=$(grep -cE '^\[       OK \] (RayTracingTest|ExtensionTest)\.(RaysHit|AShaderObject|ADescriptorBuffer|Maintenance(Five|Seven|Eight)|AMeshShader)' "$work/said")
  [ "$passed" = 7 ] || { echo "extensions.sh: $passed of 7 were executed" >&2; exit 1; }
done
