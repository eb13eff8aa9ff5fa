#!/bin/sh
# Everything a board needs, in one file, for provision.sh --offline: run it where there is a network, carry the file.
#   sh provisioning/make-bundle.sh --board pi5                    for Raspberry Pi OS 12 (Python 3.11)
#   sh provisioning/make-bundle.sh --board pi5 --python 3.13      for Raspberry Pi OS 13
#   sh provisioning/make-bundle.sh --board amd64 --to /media/usb/gateway-agent.bundle
#
# Inside, an uncompressed tar:
#   manifest           what it is for: version, board, machine, python, debian
#   SHA256SUMS         of every file
#   provision.sh       this version's
#   requirements.txt   exact versions and hashes of all that is in wheels/, from the lock, the agent's own added
#   wheels/            the packages; the agent: its model packs, units and udev rules are in it; the pip that installs
#                      them, as the board needs none. `python -m agent.update.make release` makes an update of this folder
#   debs/              Python and what it needs, as a repository that apt reads, for boards that lack it
#   trust.toml         with --trust
# Needs Python 3.11 or newer with venv, apt-get for debs/, no root. Changes nothing but the file it writes.
set -eu

HERE=$(cd "$(dirname "$0")/.." && pwd)
# What the agent needs of Debian: Python; authorities to trust, for brokers with public certificates; the hours of
# schedules; something that sets the clock, which a box with a network must have.
DEBIAN_PACKAGES="python3 ca-certificates tzdata systemd-timesyncd"

note() { echo "make-bundle.sh: $1"; }
fail() { echo "make-bundle.sh: $1" >&2; exit "${2:-1}"; }

usage() {
  echo "usage: sh provisioning/make-bundle.sh --board BOARD [--python VERSION] [--debian SUITE] [--gpio] [--trust FILE] [--to FILE]

  --board BOARD     pi4, pi5, jetson or amd64
  --python VERSION  the board's: 3.11, 3.12 or 3.13 (default: 3.11, on a Jetson 3.12)
  --debian SUITE    whose packages go into it, for boards without Python: bookworm, trixie, or none
                    (default: bookworm with Python 3.11, trixie with 3.13, on a Jetson none)
  --gpio            with the library for GPIO lines, which is LGPL
  --trust FILE      trust.toml with the keys that may sign this box's updates
  --to FILE         the file to write (default: gateway-agent-VERSION-BOARD-pyVERSION.bundle, here)
  --help            this text

Exit codes: 0 written, 1 a problem, 64 wrong usage."
}

find_python() { # Print a Python of this machine that can make environments.
  for name in python3.11 python3.12 python3.13 python3; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  fail "no Python 3.11 or newer with venv on this machine; apt-get install python3-venv"
}

quietly() { # quietly WHAT COMMAND...: its output is shown if it fails
  what=$1
  shift
  "$@" >"$work/log" 2>&1 || {
    tail -n 15 "$work/log" >&2
    fail "$what: failed, see above"
  }
}

make_environment() { # pip and setuptools by hash, whatever this machine has
  quietly "making an environment" "$(find_python)" -m venv "$work/venv"
  quietly "installing pip and setuptools (is there a network?)" "$work/venv/bin/pip" install \
    --disable-pip-version-check --require-hashes -r "$HERE/provisioning/requirements-bundle.lock"
}

get_wheels() {
  note "wheels for $machine, Python $python ..."
  "$work/venv/bin/python" "$HERE/provisioning/bundle.py" requirements "$HERE/provisioning/$lock" "$machine" "$python" \
    >"$out/requirements.txt"
  abi=cp$(echo "$python" | tr -d .)
  set -- --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    --implementation cp --python-version "$python" --abi "$abi" --abi abi3 --abi none
  for platform in $("$work/venv/bin/python" "$HERE/provisioning/bundle.py" platforms "$machine"); do
    set -- "$@" --platform "$platform"
  done
  quietly "downloading the wheels" "$work/venv/bin/pip" download "$@" --dest "$out/wheels" -r "$out/requirements.txt"
  sed '/^setuptools/,$d' "$HERE/provisioning/requirements-bundle.lock" >"$work/pip.txt"
  quietly "downloading pip" "$work/venv/bin/pip" download "$@" --dest "$out/wheels" -r "$work/pip.txt"
  cat "$work/pip.txt" >>"$out/requirements.txt" # also in the release: the next one is installed by it
}

build_agent() { # From a copy: a tree that was built in before would bring what it has left behind.
  note "the agent ..."
  mkdir "$work/tree"
  (cd "$HERE" && tar -cf - --exclude=__pycache__ pyproject.toml README.md LICENSE agent drivers models systemd) |
    tar -xf - -C "$work/tree"
  # The same sources make the same wheel: dates in it are those of 2020, and no other.
  SOURCE_DATE_EPOCH=1577836800 PIP_NO_INDEX=1 quietly "building the agent's wheel" "$work/venv/bin/pip" wheel \
    --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir "$out/wheels" "$work/tree"
  version=$(cd "$out/wheels" && echo gateway_agent-*.whl | cut -d- -f2)
  digest=$(sha256sum "$out/wheels/gateway_agent-$version-"*.whl | cut -d' ' -f1)
  printf 'gateway-agent==%s \\\n    --hash=sha256:%s\n' "$version" "$digest" >>"$out/requirements.txt"
}

mirror() { # mirror LABEL: where this machine's apt gets Debian from
  # shellcheck disable=SC2016  # apt's own words
  apt-get indextargets --format '$(REPO_URI)' "Created-By: Packages" "Origin: Debian" "Label: $1" 2>/dev/null |
    head -n 1
}

get_debs() { # By an apt of their own: another distribution's and processor's, and nothing of this machine's state.
  [ "$debian" != none ] || return 0
  command -v apt-get >/dev/null || fail "no apt-get here, so no Debian packages; on a board with Python: --debian none"
  note "Debian packages of $debian ..."
  main=$(mirror Debian)
  security=$(mirror Debian-Security)
  [ -n "$main" ] || fail "this machine's apt has no list of Debian's packages; apt-get update, or --debian none"
  apt=$work/apt
  mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$out/debs"
  : >"$apt/status" # nothing is installed there: everything that is needed comes
  keys=/usr/share/keyrings/debian-archive-keyring.gpg
  echo "deb [signed-by=$keys] $main $debian main" >"$apt/sources.list"
  [ -z "$security" ] || echo "deb [signed-by=$keys] $security $debian-security main" >>"$apt/sources.list"
  cat >"$apt/conf" <<END
APT::Architecture "$dpkg_machine";
APT::Architectures { "$dpkg_machine"; };
APT::Install-Recommends "false";
APT::Get::Assume-Yes "true";
Acquire::Languages "none";
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "-";
Dir::State::Status "$apt/status";
Dir::State::Lists "$apt/lists";
Dir::Cache::Archives "$apt/archives";
Dir::Cache::PkgCache "";
Dir::Cache::SrcPkgCache "";
Debug::NoLocking "true";
END
  export APT_CONFIG="$apt/conf"
  quietly "asking for the packages of $debian" apt-get update
  # shellcheck disable=SC2086  # one word per package is what is wanted
  quietly "downloading the packages of $debian" apt-get install --download-only $DEBIAN_PACKAGES
  unset APT_CONFIG
  mv "$apt/archives"/*.deb "$out/debs/"
  # apt writes a version's colon as %3a, and would look for another name when it reads it back.
  for archive in "$out/debs"/*%3a*; do
    [ ! -e "$archive" ] || mv "$archive" "$(echo "$archive" | sed 's/%3a/-/')"
  done
  "$work/venv/bin/python" "$HERE/provisioning/bundle.py" packages "$out/debs" >"$work/Packages"
  mv "$work/Packages" "$out/debs/Packages"
}

write_bundle() {
  cp "$HERE/provisioning/provision.sh" "$out/"
  [ -z "$trust" ] || cp "$trust" "$out/trust.toml"
  printf '%s\n' format=1 "version=$version" "board=$board" "machine=$machine" "python=$python" "debian=$debian" \
    >"$out/manifest"
  (cd "$out" && find . -type f ! -name SHA256SUMS | LC_ALL=C sort | sed 's|^\./||' | xargs sha256sum >SHA256SUMS)
  [ -n "$file" ] || file=$PWD/gateway-agent-$version-$board-py$python.bundle
  # The small files first: they are read without reading the rest.
  # shellcheck disable=SC2046  # one word per folder
  tar -cf "$file.part" --owner=0 --group=0 --sort=name -C "$out" manifest SHA256SUMS provision.sh requirements.txt \
    $(cd "$out" && ls -d trust.toml debs wheels 2>/dev/null)
  mv "$file.part" "$file"
  note "$file: $(($(stat -c %s "$file") / 1000000)) MB, sha256 $(sha256sum "$file" | cut -d' ' -f1)"
  note "on the board:  tar -xf ${file##*/} provision.sh && sudo sh provision.sh --offline ${file##*/}"
}

main() {
  board= python= debian= file= trust=
  lock=requirements.lock
  while [ $# -gt 0 ]; do
    case "$1" in
      -h | --help) usage; exit 0 ;;
      --gpio) lock=requirements-gpio.lock; shift; continue ;;
      --board | --python | --debian | --trust | --to) ;;
      *) fail "unknown argument $1; see --help" 64 ;;
    esac
    [ $# -gt 1 ] || fail "$1 needs a value; see --help" 64
    case "$1" in
      --board) board=$2 ;;
      --python) python=$2 ;;
      --debian) debian=$2 ;;
      --trust) trust=$2 ;;
      --to) file=$2 ;;
    esac
    shift 2
  done
  case "$board" in
    pi4 | pi5 | jetson) machine=aarch64 dpkg_machine=arm64 ;;
    amd64) machine=x86_64 dpkg_machine=amd64 ;;
    "") fail "which board? --board pi4, pi5, jetson or amd64" 64 ;;
    *) fail "board $board is not known; wanted pi4, pi5, jetson or amd64" 64 ;;
  esac
  if [ "$board" = jetson ]; then : "${python:=3.12}"; else : "${python:=3.11}"; fi
  case "$python" in
    3.11 | 3.12 | 3.13) ;;
    *) fail "Python $python is not known; wanted 3.11, 3.12 or 3.13" 64 ;;
  esac
  if [ -z "$debian" ]; then
    case "$board/$python" in
      jetson/* | */3.12) debian=none ;;
      */3.11) debian=bookworm ;;
      */3.13) debian=trixie ;;
    esac
  fi
  case "$debian/$python" in
    none/* | bookworm/3.11 | trixie/3.13) ;;
    bookworm/* | trixie/*) fail "$debian has another Python than $python; bookworm has 3.11, trixie 3.13" 64 ;;
    *) fail "Debian $debian is not known; wanted bookworm, trixie or none" 64 ;;
  esac
  [ -z "$trust" ] || [ -r "$trust" ] || fail "--trust $trust: cannot be read" 64
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  trap 'exit 1' INT TERM
  out=$work/bundle
  mkdir -p "$out/wheels"
  make_environment
  get_wheels
  build_agent
  get_debs
  write_bundle
}

main "$@"
