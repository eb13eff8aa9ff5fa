#!/bin/sh
# Set up what the tests need on this machine, then lint, type check and test. Safe to run again.
#   sh tests/run.sh                          everything that takes minutes, not hours
#   sh tests/run.sh tests/unit -k outbox     arguments go to pytest; without lint and types, for a quick look
# As root, or with sudo that asks no password, Debian packages that are missing are installed; otherwise the tests that
# need them say what they lack and are left out.  GATEWAY_TEST_VENV=DIR: the environment (default: .venv-test).
set -eu

# The broker; the database of the centre; a client of EST that others wrote; the RTSP server and what encodes for it; a Python for the environment; a
# compiler for fault shims.
APT_PACKAGES="mosquitto strongswan-pki libstrongswan-standard-plugins openssl python3-venv postgresql python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-tools gstreamer1.0-plugins-base
  gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gcc libc6-dev"

note() { echo "run.sh: $1"; }
fail() { echo "run.sh: $1" >&2; exit "${2:-1}"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

missing_packages() {
  for package in $APT_PACKAGES; do
    dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || echo "$package"
  done
}

install_packages() {
  command -v apt-get >/dev/null || { note "no apt-get: tests with mosquitto and RTSP run only if they are here"; return; }
  # shellcheck disable=SC2046  # one word per package is what is wanted
  set -- $(missing_packages)
  [ $# -gt 0 ] || return 0
  note "installing $*"
  log=$(mktemp)
  # policy-rc.d: Debian would start a mosquitto service on port 1883; the tests start their own on free ports.
  if ! as_root true 2>/dev/null; then
    note "not root, and sudo asks: left out are the tests that need $*"
  elif ! install_quietly "$@" >"$log" 2>&1; then
    tail -n 5 "$log"
    note "apt-get could not install them: left out are the tests that need $*"
  fi
  rm -f "$log"
}

install_quietly() {
  policy=/usr/sbin/policy-rc.d
  ours=
  if [ ! -e "$policy" ]; then
    ours=yes
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
  fi
  code=0
  as_root apt-get -q update || true
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "$@" || code=$?
  [ -z "$ours" ] || as_root rm -f "$policy"
  return "$code"
}

find_python() {
  for name in python3.11 python3.12 python3.13 python3; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  fail "no Python 3.11 or newer with venv; apt-get install python3-venv"
}

make_venv() {
  wanted=$(cat provisioning/requirements-dev.lock pyproject.toml | sha256sum)
  [ "$(cat "$venv/.installed" 2>/dev/null)" != "$wanted" ] || return 0
  python=$(find_python)
  note "installing into $venv"
  [ -x "$venv/bin/pip" ] || "$python" -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r provisioning/requirements-dev.lock
  "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
  echo "$wanted" >"$venv/.installed"
}

main() {
  cd "$(dirname "$0")/.."
  venv=${GATEWAY_TEST_VENV:-.venv-test}
  install_packages
  make_venv
  if [ $# -eq 0 ]; then
    "$venv/bin/ruff" check .
    "$venv/bin/ruff" format --check .
    "$venv/bin/mypy"
    # A file's tests stay together and in order: they share brokers. Three, on two cores: most of the time is waiting.
    set -- -n 3 --dist loadfile
  fi
  exec "$venv/bin/python" -m pytest -m "not hil and not slow" "$@"
}

main "$@"
