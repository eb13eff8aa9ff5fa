#!/bin/sh
# Pin and hash everything that is installed beside the project itself. Run after dependencies change in pyproject.toml.
#   sh provisioning/lock.sh             write the locks anew, keeping pinned versions that still fit
#   sh provisioning/lock.sh --upgrade   take the newest versions that fit
#
# requirements.lock       what the box runs; Python 3.11 and newer, x86-64 and aarch64
# requirements-gpio.lock  that, and gpiod (LGPL) for boxes with GPIO lines
# requirements-demo.lock  what the box runs, the demo's broker, and what builds the project
# requirements-dev.lock   that, and the tools of tests and lint
# requirements-bundle.lock  what builds a bundle and installs it on a board: pip, setuptools
set -eu

fail() { echo "lock.sh: $1" >&2; exit "${2:-1}"; }

find_uv() {
  if [ -n "${UV:-}" ]; then echo "$UV"; return; fi
  command -v uv && return
  for venv in .venv-test .venv; do
    [ -x "$venv/bin/uv" ] && { echo "$venv/bin/uv"; return; }
  done
  fail "no uv; install it (pip install uv), or say where it is: UV=/path/to/uv sh provisioning/lock.sh"
}

# lock FILE ARGUMENTS...: universal, so that one file serves every Python and processor; no index address in it.
lock() {
  file=provisioning/$1
  shift
  "$uv" pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links --constraint "$limits" --output-file "$file" "$@" "${project:-pyproject.toml}"
  echo "$file: $(grep -c '==' "$file") packages"
}

main() {
  [ $# -eq 0 ] || [ "$*" = --upgrade ] || fail "unknown arguments: $*; see the head of this file" 64
  cd "$(dirname "$0")/.."
  uv=$(find_uv)
  limits=$(mktemp)
  trap 'rm -f "$limits" "$limits.in"' EXIT
  # uv reads no upper bound on Python: this one says it is for 3.10 and older, and pip refuses it on ours.
  echo "backports-strenum<1.3" >"$limits"
  # The largest set first: the smaller ones are held to its versions, so that what is tested is what runs.
  echo "setuptools>=77" | lock requirements-dev.lock "$@" --extra demo --extra dev --extra ingest --extra web -
  echo "setuptools>=77" | lock requirements-demo.lock --constraint provisioning/requirements-dev.lock --extra demo -
  lock requirements-gpio.lock --constraint provisioning/requirements-dev.lock --extra gpio
  # With the page: whether a box serves it is its configuration's business, and there may be no network to fetch it by.
  lock requirements.lock --constraint provisioning/requirements-dev.lock --extra web
  printf 'pip\nsetuptools>=77\n' >"$limits.in"
  project="$limits.in" lock requirements-bundle.lock "$@" --constraint provisioning/requirements-dev.lock
}

main "$@"
