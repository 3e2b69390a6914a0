#!/usr/bin/env bash
# compose.sh: installs `docker compose` (version 2). Debian 12 has only version 1; there the program of a newer Debian, which needs
# no library, is put among the Docker plugins of this user, and apt's own settings stay as they are.
set -euo pipefail

if apt-cache show docker-compose-v2 >/dev/null 2>&1; then
    exec apt-get install --yes --no-install-recommends docker-compose-v2
fi
archive=$(grep -rhv '^[[:space:]]*#' /etc/apt/sources.list* | grep -oE 'https?://[^[:space:]]+/debian/?([[:space:]]|$)' | head -n 1) || true
[ -n "$archive" ] || { echo "compose.sh: this machine's apt sources name no Debian archive" >&2; exit 1; }

dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT
mkdir -p "$dir"/{parts,lists/partial,cache/archives/partial}
: >"$dir/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive sid main" >"$dir/parts/sid.list"
apt() {
    apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$dir/parts" -o Dir::State::lists="$dir/lists" \
        -o Dir::Cache="$dir/cache" -o Dir::State::status="$dir/status" -o APT::Sandbox::User="$(id -un)" "$@"
}
apt update
(cd "$dir" && apt download docker-compose)
dpkg-deb -x "$dir"/docker-compose_*.deb "$dir/root"
program=$(find "$dir/root" -type f -name docker-compose)
# Where Docker's documentation has a user put plugins.
plugins=${DOCKER_CONFIG:-~/.docker}/cli-plugins
install -D -t "$plugins" "$program"
docker compose version
