#!/usr/bin/env bash
# test_brain.sh: the tests of the Brain on the newest Elixir and OTP that it supports, in the image that its own image is built from.
set -euo pipefail
cd "$(dirname "$0")/../.."

deploy/images/build.sh elixir
# The repository is read-only inside: what is compiled there belongs to another Erlang than what lies here.
docker run --rm --volume "$PWD:/repository:ro" --workdir /tests arqon/elixir:dev sh -c '
    set -e
    elixir --version
    mkdir -p target && ln -s /repository/target/venv target/venv
    cp -r /repository/vectors /repository/proto /repository/docs .
    tar -C /repository --exclude brain/_build --exclude brain/tmp -c brain | tar -x
    cd brain && MIX_ENV=test mix test'
