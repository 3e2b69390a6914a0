#!/usr/bin/env bash
# build.sh [--release] [elixir|shield|brain...]: builds the images of this repository: arqon/elixir:dev, in which the tests of the
# Brain run, arqon/shield:dev and arqon/brain:dev. `shield` takes the program that cargo has built.
set -euo pipefail
cd "$(dirname "$0")/../.."

profile=debug
[ "${1:-}" != --release ] || { profile=release; shift; }
[ $# -gt 0 ] || set -- shield brain
# Each context holds only what its image needs: not every builder leaves the rest of the repository alone.
contexts=target/images
mkdir -p $contexts

context() {
    rm -rf "${contexts:?}/$1"
    mkdir "$contexts/$1"
    cp deploy/images/health "$contexts/$1/"
}

shield() {
    local program=target/$profile/shield
    [ -x $program ] || { echo "build.sh: $program is not there; cargo build --package arqon-shield" >&2; exit 1; }
    deploy/images/base.sh debian:bookworm-slim
    context shield
    install --strip --mode 755 $program $contexts/shield/shield
    docker build --quiet --file deploy/shield/Dockerfile --tag arqon/shield:dev $contexts/shield >/dev/null
}

elixir() {
    deploy/images/base.sh debian:forky-slim
    context elixir
    docker build --quiet --file deploy/brain/Dockerfile --target elixir --tag arqon/elixir:dev $contexts/elixir >/dev/null
}

brain() {
    elixir
    context brain
    # What a build on this machine has left belongs to another Erlang.
    tar -C brain --exclude ./_build --exclude ./deps -c . | (mkdir $contexts/brain/brain && tar -C $contexts/brain/brain -x)
    docker build --quiet --file deploy/brain/Dockerfile --tag arqon/brain:dev $contexts/brain >/dev/null
}

for image in "$@"; do
    case $image in
    elixir | shield | brain) "$image"
        echo "arqon/$image:dev: built, $SECONDS s since the start" ;;
    *) echo "build.sh: there is no image $image" >&2; exit 2 ;;
    esac
done
