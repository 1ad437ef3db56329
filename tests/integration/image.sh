#!/bin/bash
# image.sh BUILD: makes the images of packaging/pool/Containerfile from BUILD, and uses them: the server, started as its image says and as
# the user that its image says, draws for a program that has nothing but the client image's files. The image that they begin
# with is a Debian made here, under the name of the registry's. Status 77 (skipped) without buildah, or where no Debian can be made.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
build=$(realpath "$1")
root=$(realpath "$here/../..")
skip() { echo "image.sh: $*" >&2; exit 77; }
fail() { echo "image.sh: $*" >&2; exit 1; }
command -v buildah >/dev/null || skip "buildah is missing"
[ "$(id -u)" = 0 ] || skip "only root can make images here"
work=$(mktemp -d "${TMPDIR:-/tmp}/vesper-image-XXXXXX")
images=(buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs)
server=
clean() {
  [ -z "$server" ] || { kill "$server"; wait "$server"; } 2>/dev/null || true
  "${images[@]}" umount --all >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap clean EXIT
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$work/policy.json"
export BUILDAH_ISOLATION=chroot
said() { "${images[@]}" "$@" >"$work/log" 2>&1 || { tail -40 "$work/log" >&2; fail "buildah $1"; }; }

suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
mmdebstrap --quiet --mode=root --variant=apt "$suite" "$work/debian.tar" >"$work/log" 2>&1 ||
  { cat "$work/log" >&2; skip "no Debian could be made here"; }
printf 'FROM scratch\nADD debian.tar /\n' >"$work/Containerfile"
said build --signature-policy "$work/policy.json" -f "$work/Containerfile" -t docker.io/library/debian:12-slim "$work"
rm "$work/debian.tar"

cpack --config "$build/CPackConfig.cmake" -B "$work/packages" >"$work/log" 2>&1 || { tail -40 "$work/log" >&2; fail "cpack failed"; }
DESTDIR=$work/tree cmake --install "$build" --prefix /opt/vesper --strip >/dev/null
rm -rf "$work/packages/_CPack_Packages"
for name in server client; do
  said build --signature-policy "$work/policy.json" --pull-never -f "$root/packaging/pool/Containerfile" --target $name -t vesper-$name:0.1.0 "$work"
done

# The volume with credentials, as the manifests have it.
mkdir "$work/etc"
"$build/bin/vesper-server" init --host localhost --credentials "$work/etc" >"$work/init"
chown -R 10001:10001 "$work/etc"
container=$("${images[@]}" from --signature-policy "$work/policy.json" --pull-never localhost/vesper-server:0.1.0)
inspected=$("${images[@]}" inspect --format '{{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.Cmd}} {{.OCIv1.Config.User}}' "$container")
[ "$inspected" = '[/usr/bin/vesper-server] [--listen tls://0.0.0.0:7700 --credentials /etc/vesper --admin unix:/run/vesper/admin.sock] 10001' ] ||
  fail "the image says: $inspected"
# Its own command, but for a port that is free.
: >"$work/out"
"${images[@]}" run --volume "$work/etc:/etc/vesper" "$container" -- /usr/bin/vesper-server --listen tls://127.0.0.1:0 --credentials /etc/vesper \
  --admin unix:/run/vesper/admin.sock >"$work/out" 2>"$work/err" &
server=$!
for _ in $(seq 300); do
  address=$(sed -n 's/^listening on tls:\/\///p' "$work/out")
  [ -z "$address" ] || break
  kill -0 $server 2>/dev/null || break
  sleep 0.1
done
[ -n "$address" ] || { cat "$work/out" "$work/err" >&2; fail "the server's image does not serve"; }

files=$("${images[@]}" mount "$("${images[@]}" from --signature-policy "$work/policy.json" --pull-never localhost/vesper-client:0.1.0)")
cp -r "$files/opt/vesper" "$work/client"
manifest=$(ls "$work"/client/share/vulkan/icd.d/vesper_icd.*.json)
token=$(sed -n 's|.*tls://\([^@]*\)@.*|\1|p' "$work/init" | head -1)
fingerprint=$(sed -n 's|.*#\([0-9a-f]*\).*|\1|p' "$work/init" | head -1)
VESPER_SERVER="tls://$token@$address#$fingerprint" VK_DRIVER_FILES=$manifest VK_ICD_FILENAMES=$manifest timeout 100 \
  "$build/bin/first_execution" || { cat "$work/out" "$work/err" >&2; fail "a program gets nothing from the images"; }
