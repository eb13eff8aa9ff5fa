#!/bin/sh
# See the gateway agent at work on this machine: people walking, counted, and alerts arriving at a subscriber.
# For a fresh Debian 12 or Raspberry Pi OS (64-bit), from a checkout. Safe to run again; changes nothing outside the
# checkout but Debian's python3-venv where that is missing.
#   sh provisioning/demo.sh                                      a recording, a broker of its own, ends with a summary
#   sh provisioning/demo.sh --source file:/home/pi/street.mp4    your recording
#   sh provisioning/demo.sh --source rtsp://10.0.0.21/stream1 --credentials cam.toml --broker ioc.example:1883
# LANG=vi_VN.UTF-8 speaks Vietnamese.  GATEWAY_DEMO_VENV=DIR puts the Python environment elsewhere (default: .venv)
set -eu

CLIP_PACKAGE=opencv-doc # Debian's package of OpenCV's examples, with a street recording of 80 s
CLIP_SHA256=45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf

say() { # say ENGLISH VIETNAMESE
  case "${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}" in
    vi*) echo "$2" ;;
    *) echo "$1" ;;
  esac
}

fail() { # fail ENGLISH VIETNAMESE [CODE]
  say "demo.sh: $1" "demo.sh: $2" >&2
  exit "${3:-1}"
}

usage() {
  say "usage: sh provisioning/demo.sh [--source SOURCE] [--broker HOST[:PORT]] [--loop]

  --source SOURCE       camera to watch: file:clip.mp4, rtsp://10.0.0.21/stream1, v4l2:/dev/video0
                        (default: a street recording from Debian's package $CLIP_PACKAGE)
  --credentials FILE    TOML file with user = \"...\" and password = \"...\", for an rtsp:// source
  --broker HOST[:PORT]  MQTT broker to report to, without TLS (default: one of its own, on this machine only)
  --loop                play a recording again and again, until Ctrl-C
  --help                this text

Ends by itself after a recording. Exit codes: 0 alerts arrived, 1 none arrived or a problem, 64 wrong usage." \
    "cách dùng: sh provisioning/demo.sh [--source NGUỒN] [--broker MÁY[:CỔNG]] [--loop]

  --source NGUỒN        máy quay cần xem: file:clip.mp4, rtsp://10.0.0.21/stream1, v4l2:/dev/video0
                        (mặc định: một đoạn phim đường phố trong gói $CLIP_PACKAGE của Debian)
  --credentials TỆP     tệp TOML có user = \"...\" và password = \"...\", dùng cho nguồn rtsp://
  --broker MÁY[:CỔNG]   máy chủ MQTT nhận báo cáo, không TLS (mặc định: máy chủ riêng, chỉ trên máy này)
  --loop                phát lại đoạn phim mãi, cho đến khi nhấn Ctrl-C
  --help                hướng dẫn này

Tự kết thúc sau đoạn phim. Mã thoát: 0 có cảnh báo đến, 1 không có cảnh báo hoặc có lỗi, 64 dùng sai."
}

as_root() { # Run a command as root if that is possible without surprises; 1 if it is not.
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
    sudo "$@"
  else
    return 1
  fi
}

find_python() { # Print the newest Python that will do; 1 if there is none.
  for name in python3.13 python3.12 python3.11 python3; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  return 1
}

make_venv() {
  if ! python=$(find_python); then
    say "installing python3-venv ..." "đang cài python3-venv ..."
    as_root apt-get -q -y install python3-venv >"$cache/apt.log" 2>&1 ||
      { as_root apt-get -q update && as_root apt-get -q -y install python3-venv; } >"$cache/apt.log" 2>&1 || true
    python=$(find_python) || fail \
      "no Python 3.11 to 3.13 with venv; run: sudo apt install python3-venv   (Debian 12 or newer; see $cache/apt.log)" \
      "không có Python 3.11 đến 3.13 kèm venv; hãy chạy: sudo apt install python3-venv   (Debian 12 trở lên; xem $cache/apt.log)"
  fi
  # What is installed is known by what it was installed from: nothing to do the second time.
  wanted=$(cat provisioning/requirements-demo.lock pyproject.toml | sha256sum)
  if [ -x "$venv/bin/gateway-agent" ] && [ "$(cat "$venv/.installed" 2>/dev/null)" = "$wanted" ]; then
    return
  fi
  say "installing into $venv, once ..." "đang cài vào $venv, chỉ lần đầu ..."
  [ -x "$venv/bin/pip" ] || "$python" -m venv "$venv"
  { "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r provisioning/requirements-demo.lock &&
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
  } >"$cache/pip.log" 2>&1 || {
    tail -n 5 "$cache/pip.log" >&2
    fail "pip could not install the packages (all of it: $cache/pip.log); is there a network?" \
      "pip không cài được các gói (chi tiết: $cache/pip.log); máy có mạng không?"
  }
  echo "$wanted" >"$venv/.installed"
}

clip_is_whole() { echo "$CLIP_SHA256  $clip" | sha256sum --check --status 2>/dev/null; }

fetch_clip() {
  clip_is_whole && return
  say "fetching the recording (package $CLIP_PACKAGE, 96 MB, once) ..." \
    "đang tải đoạn phim (gói $CLIP_PACKAGE, 96 MB, chỉ lần đầu) ..."
  rm -rf "$cache/deb"
  mkdir -p "$cache/deb"
  { download && unpack && clip_is_whole; } >"$cache/clip.log" 2>&1 || no_clip
  rm -rf "$cache/deb"
}

# Needs no root; only the lists of packages do, where there are none yet or they are too old.
download() {
  (cd "$cache/deb" && apt-get -q download "$CLIP_PACKAGE") ||
    { as_root apt-get -q update && (cd "$cache/deb" && apt-get -q download "$CLIP_PACKAGE"); }
}

unpack() { dpkg-deb --fsys-tarfile "$cache/deb"/*.deb | tar -x -O --wildcards '*/vtest.avi' >"$clip"; }

no_clip() {
  rm -rf "$cache/deb" "$clip"
  fail "no recording: the Debian package $CLIP_PACKAGE could not be fetched (see $cache/clip.log).
  With network and root: sudo apt-get update, then run this again.
  Or give a recording or a camera:  sh provisioning/demo.sh --source file:/path/to/clip.mp4" \
    "không có đoạn phim: không tải được gói $CLIP_PACKAGE của Debian (xem $cache/clip.log).
  Nếu có mạng và quyền root: sudo apt-get update, rồi chạy lại.
  Hoặc chỉ ra đoạn phim hay máy quay:  sh provisioning/demo.sh --source file:/path/to/clip.mp4"
}

main() {
  began_s=$(date +%s)
  source_given=
  value_of=
  for argument in "$@"; do # only looked at here: demo.py reads them
    if [ -n "$value_of" ]; then
      value_of=
      continue
    fi
    case "$argument" in
      -h | --help) usage; exit 0 ;;
      --source | --credentials | --broker) value_of=$argument ;;
      --source=* | --credentials=* | --broker=* | --loop) ;;
      *) fail "unknown argument $argument; see --help" "tham số lạ $argument; xem --help" 64 ;;
    esac
    case "$argument" in --source*) source_given=yes ;; esac
  done
  [ -z "$value_of" ] || fail "$value_of needs a value; see --help" "$value_of cần một giá trị; xem --help" 64
  case "$(uname -m)" in
    x86_64 | aarch64) ;;
    *) fail "this processor ($(uname -m)) has no packages for the demo; wanted x86_64 or aarch64, a 64-bit system" \
      "bộ xử lý này ($(uname -m)) không có gói cho bản thử; cần x86_64 hoặc aarch64, hệ điều hành 64 bit" ;;
  esac
  called_from=$PWD
  cd "$(dirname "$0")/.."
  cache=$PWD/.cache
  clip=$cache/vtest.avi
  venv=${GATEWAY_DEMO_VENV:-$PWD/.venv}
  case "$venv" in /*) ;; *) venv=$called_from/$venv ;; esac
  mkdir -p "$cache"
  [ -n "$source_given" ] || fetch_clip
  make_venv
  here=$PWD
  cd "$called_from" # so that relative paths mean what they meant to whoever typed them
  exec "$venv/bin/python" "$here/provisioning/demo.py" --began "$began_s" --folder "$cache/demo" --clip "$clip" "$@"
}

main "$@"
