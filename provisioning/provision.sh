#!/bin/sh
# Make a gateway box of this board: everything from bare Debian to a running, checked service. Safe to run again: what is
# as it should be is left alone.
#   sudo sh provision.sh --offline gateway-agent-0.1.0-pi5-py3.11.bundle    no internet needed; see make-bundle.sh
#   sudo sh provisioning/provision.sh                                       from a checkout, with internet
#   sudo sh provision.sh --offline F.bundle --config gateway.toml           asks nothing
#   sudo sh provision.sh --dry-run --offline F.bundle                       says what it would do, and does nothing
#   sudo sh provision.sh --factory-reset | --uninstall [--keep-data | --delete-data]
# LANG=vi_VN.UTF-8 speaks Vietnamese. Exit codes: 0 all fine, 1 a problem, 64 wrong usage, 78 wrong configuration.
set -eu

NAME=gateway-agent
OPT=/opt/$NAME
ETC=/etc/$NAME
DATA=/var/lib/$NAME
LINK=/usr/local/bin/$NAME
CONFIG=$ETC/gateway.toml
UNITS=/etc/systemd/system
LIST=$OPT/files           # what was put outside of $OPT, $ETC and $DATA, a path a line
DEBS=$OPT/debian-packages # what apt put in on our behalf
MADE=$OPT/groups          # groups that this system did not have
LEAST_FREE_MB=900

changes=0
problems=0

# ---- words -----------------------------------------------------------------------------------------------------------

vietnamese() { case "${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}" in vi*) ;; *) return 1 ;; esac; }

say() { # say ENGLISH VIETNAMESE
  if vietnamese; then echo "$2"; else echo "$1"; fi
}

fail() { # fail ENGLISH VIETNAMESE [CODE]
  say "provision.sh: $1" "provision.sh: $2" >&2
  exit "${3:-1}"
}

line() { # line STATE ENGLISH VIETNAMESE: one step, one line
  case "$1" in
    ok) say "  ok       $2" "  đã có    $3" ;;
    done) say "  done     $2" "  xong     $3" ;;
    would) say "  would    $2" "  sẽ làm   $3" ;;
    PROBLEM) say "  PROBLEM  $2" "  LỖI      $3"; problems=$((problems + 1)) ;;
  esac
}

usage() {
  say "usage: sudo sh provision.sh [--offline BUNDLE] [options]

  --offline BUNDLE     install from this file, made by make-bundle.sh; no internet needed
  --sha256 HEX         refuse the bundle if it is another one
  --config FILE        this configuration, whole; nothing is asked
  --site NAME --box NAME --broker HOST[:PORT] --ca FILE --camera SOURCE
                       answers to what would be asked; also GATEWAY_SITE, GATEWAY_BOX, GATEWAY_BROKER, GATEWAY_CA and
                       GATEWAY_CAMERA. Used only where there is no configuration yet
  --credentials DIR    logins of cameras, one file each, copied to $ETC/credentials
  --card DIR           what the city's authority made for this box (python -m provisioning.ca): gateway.toml, used where
                       there is no configuration yet, ca.pem, token, server
  --enrol URL          the authority's EST server, with --token-file FILE, and --ca FILE or --fingerprint SHA256
  --trust FILE         keys that may sign updates (default: those in the bundle)
  --no-start           install and check, do not start the service
  --dry-run            say what would be done
  --factory-reset      forget everything about the place: keys, logins, configuration, outbox, pictures; stay installed
  --keep-config        with --factory-reset: not the configuration and the logins of cameras
  --uninstall          remove everything this has put here
  --keep-data          with --uninstall: leave $DATA and $ETC, and do not ask
  --delete-data        with --uninstall: delete them, and do not ask
  --yes                with --factory-reset: do not ask
  --help               this text

Exit codes: 0 all fine, 1 a problem, 64 wrong usage, 78 wrong configuration." \
    "cách dùng: sudo sh provision.sh [--offline GÓI] [tùy chọn]

  --offline GÓI        cài từ tệp này, do make-bundle.sh tạo; không cần mạng
  --sha256 HEX         từ chối nếu gói không đúng mã này
  --config TỆP         dùng nguyên cấu hình này; không hỏi gì
  --site TÊN --box TÊN --broker MÁY[:CỔNG] --ca TỆP --camera NGUỒN
                       câu trả lời cho các câu hỏi; cũng có thể đặt GATEWAY_SITE, GATEWAY_BOX, GATEWAY_BROKER, GATEWAY_CA
                       và GATEWAY_CAMERA. Chỉ dùng khi chưa có cấu hình
  --credentials THƯMỤC thông tin đăng nhập của máy quay, mỗi máy một tệp, chép vào $ETC/credentials
  --card THƯMỤC        những gì CA của thành phố tạo cho thiết bị này (python -m provisioning.ca): gateway.toml, dùng khi
                       chưa có cấu hình, ca.pem, token, server
  --enrol URL          máy chủ EST của CA, kèm --token-file TỆP, và --ca TỆP hoặc --fingerprint SHA256
  --trust TỆP          khóa được phép ký bản cập nhật (mặc định: khóa trong gói)
  --no-start           cài và kiểm tra, không khởi động dịch vụ
  --dry-run            chỉ nói sẽ làm gì
  --factory-reset      quên mọi thứ về nơi lắp đặt: khóa, mật khẩu, cấu hình, hàng đợi, ảnh; vẫn giữ phần mềm
  --keep-config        với --factory-reset: giữ cấu hình và thông tin đăng nhập máy quay
  --uninstall          gỡ mọi thứ đã cài
  --keep-data          với --uninstall: giữ $DATA và $ETC, không hỏi
  --delete-data        với --uninstall: xóa cả hai, không hỏi
  --yes                với --factory-reset: không hỏi
  --help               hướng dẫn này

Mã thoát: 0 tốt, 1 có lỗi, 64 dùng sai, 78 cấu hình sai."
}

# ---- small tools -----------------------------------------------------------------------------------------------------

changed() { changes=$((changes + 1)); }

# do_step ENGLISH VIETNAMESE COMMAND...: in a dry run only said. Whoever calls it has found that it is needed.
do_step() {
  english=$1 viet=$2
  shift 2
  changed
  if [ -n "$dry" ]; then
    line would "$english" "$viet"
    return
  fi
  "$@" >"$work/log" 2>&1 || {
    code=$?
    tail -n 20 "$work/log" >&2
    fail "$english: failed, see above" "$viet: không được, xem bên trên" "$code"
  }
  line "done" "$english" "$viet"
}

in_manifest() { sed -n "s/^$1=//p" "$work/manifest"; }
is_installed() { [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
is_active() { systemctl --quiet is-active "$NAME.service" 2>/dev/null; }
as_agent() { runuser -u "$NAME" -- "$@"; }
agent() { PYTHONDONTWRITEBYTECODE=1 "$release/bin/$NAME" "$@"; }
mode_of() { stat -c '%a %U:%G' "$1" 2>/dev/null; }

replace_link() { # replace_link TARGET LINK: at no moment is there none
  ln -sfn "$1" "$2.new"
  mv -T "$2.new" "$2"
}

put_file() { # put_file FROM TO MODE OWNER: whole or not at all, also in a power cut
  install -m "$3" -o "${4%:*}" -g "${4#*:}" "$1" "$2.new"
  sync "$2.new"
  mv "$2.new" "$2"
}

reload_udev() { # The devices that udev.rules speaks of; what is plugged in already gets its new owner now.
  systemctl --quiet is-active systemd-udevd.service || return 0 # a container has none
  udevadm control --reload &&
    udevadm trigger --action=change --subsystem-match=gpio --subsystem-match=i2c-dev --subsystem-match=dma_heap
}

confirm() { # confirm ENGLISH VIETNAMESE: 0 for yes; no answer is no
  [ -t 0 ] || return 1
  say "$1 [y/N]" "$2 [c/K]"
  read -r answer || return 1
  case "$answer" in y | Y | yes | c | C | có) return 0 ;; *) return 1 ;; esac
}

find_python() { # Print a Python that will do; 1 if there is none.
  wanted=${1:-}
  for name in python3 python3.13 python3.12 python3.11; do
    path=$(command -v "$name") || continue
    found=$("$path" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    case "$found" in
      3.11 | 3.12 | 3.13) [ -n "$wanted" ] && [ "$wanted" != "$found" ] || { echo "$path"; return; } ;;
    esac
  done
  return 1
}

# ---- what there is ---------------------------------------------------------------------------------------------------

look_at_system() {
  # In a shell of its own: the file sets NAME and others, as it likes.
  # shellcheck source=/dev/null
  system=$(. /etc/os-release && echo "${ID:-}:${VERSION_ID:-0}")
  # shellcheck source=/dev/null
  system_name=$(. /etc/os-release && echo "${PRETTY_NAME:-$ID}")
  machine=$(uname -m)
  case "$machine" in
    x86_64 | aarch64) ;;
    *) fail "this processor ($machine) is not served; wanted a 64-bit system, aarch64 or x86_64" \
      "bộ xử lý này ($machine) không được hỗ trợ; cần hệ điều hành 64 bit, aarch64 hoặc x86_64" ;;
  esac
  case "$system" in
    debian:1[2-9] | raspbian:1[2-9] | ubuntu:2[4-9].*) ;;
    *) fail "this system ($system_name) is not served; wanted Debian or Raspberry Pi OS 12 or newer, or JetPack on Ubuntu 24.04" \
      "hệ điều hành này ($system_name) không được hỗ trợ; cần Debian hoặc Raspberry Pi OS 12 trở lên, hoặc JetPack trên Ubuntu 24.04" ;;
  esac
  [ -n "$dry" ] || [ -d /run/systemd/system ] ||
    fail "systemd does not run here; the agent is a service of systemd" "systemd không chạy trên máy này; chương trình cần systemd"
  model=$machine
  [ ! -r /proc/device-tree/model ] || model=$(tr -d '\0' </proc/device-tree/model)
  line ok "system: $system_name, $model" "hệ thống: $system_name, $model"
}

open_bundle() { # Unpacked beside us and verified, whole, before anything of it is used.
  [ -r "$bundle" ] || fail "bundle $bundle: cannot be read" "gói $bundle: không đọc được"
  from=$work/bundle
  tar -xOf "$bundle" manifest >"$work/manifest" 2>/dev/null || true # if it is cut off, that is told below
  [ "$(in_manifest format)" = 1 ] ||
    fail "$bundle is no bundle of this program; make one with make-bundle.sh" \
      "$bundle không phải gói của chương trình này; hãy tạo bằng make-bundle.sh"
  [ -z "$sha256" ] || [ "$(sha256sum "$bundle" | cut -d' ' -f1)" = "$sha256" ] ||
    fail "$bundle is another one than --sha256 says; do not install it" "$bundle không khớp với --sha256; đừng cài gói này"
  [ "$(in_manifest machine)" = "$machine" ] ||
    fail "the bundle is for $(in_manifest board) ($(in_manifest machine)), this board is $machine; make one for it" \
      "gói dành cho $(in_manifest board) ($(in_manifest machine)), máy này là $machine; hãy tạo gói khác"
  mkdir "$from"
  { tar -xf "$bundle" -C "$from" && (verify_bundle); } >"$work/log" 2>&1 || {
    grep -v ': OK$' "$work/log" | tail -n 5 >&2
    fail "$bundle is damaged; copy it again" "$bundle bị hỏng; hãy chép lại"
  }
  name_release "$(in_manifest version)" "$(in_manifest python)"
  line ok "bundle: whole, version $version for $(in_manifest board), Python $python_wanted" \
    "gói: nguyên vẹn, bản $version cho $(in_manifest board), Python $python_wanted"
}

verify_bundle() { # Every file is as listed, and none is there that is not.
  cd "$from" && sha256sum --check --strict SHA256SUMS &&
    [ "$(find . ! -type d | wc -l)" -eq "$(($(wc -l <SHA256SUMS) + 1))" ]
}

name_release() {
  version=$1 python_wanted=$2
  case "$version" in
    "" | *[!0-9A-Za-z.+]* | .*) fail "version '$version' is none" "phiên bản '$version' không hợp lệ" ;;
  esac
  release=$OPT/releases/$version
}

make_own_bundle() { # Without --offline: a bundle is made here and then goes the same way.
  from=$(cd "$(dirname "$0")/.." && pwd)
  [ -e "$from/provisioning/make-bundle.sh" ] ||
    fail "nothing to install from: give --offline BUNDLE, or run provisioning/provision.sh of a checkout" \
      "không có gì để cài: hãy dùng --offline GÓI, hoặc chạy provisioning/provision.sh trong mã nguồn"
  case "$model" in
    *"Raspberry Pi 4"*) board=pi4 ;;
    *Raspberry*) board=pi5 ;;
    *[Jj]etson* | *NVIDIA*) board=jetson ;;
    *) if [ "$machine" = x86_64 ]; then board=amd64; else board=pi4; fi ;;
  esac
  if [ -n "$dry" ]; then
    line would "bundle: make one for $board from $from (needs internet)" "gói: tạo cho $board từ $from (cần mạng)"
    name_release "$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$from/agent/__init__.py")" ""
    return
  fi
  { python=$(find_python "") && "$python" -c 'import ensurepip' 2>/dev/null; } ||
    do_step "packages: python3-venv" "gói Debian: python3-venv" install_packages python3 python3-venv
  python=$(find_python "") || fail "no Python 3.11 to 3.13 on this system" "hệ thống không có Python 3.11 đến 3.13"
  say "  ...      making a bundle for $board, some minutes" "  ...      đang tạo gói cho $board, mất vài phút"
  TMPDIR=/var/tmp sh "$from/provisioning/make-bundle.sh" --board "$board" --debian none --to "$work/own.bundle" \
    --python "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" >"$work/log" 2>&1 || {
    tail -n 15 "$work/log" >&2
    fail "the bundle could not be made, see above; without internet: --offline BUNDLE" \
      "không tạo được gói, xem bên trên; nếu không có mạng: --offline GÓI"
  }
  bundle=$work/own.bundle
  open_bundle
}

# ---- what is installed -----------------------------------------------------------------------------------------------

missing_packages() {
  find_python "$python_wanted" >/dev/null || echo python3
  [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
  [ -e /usr/share/zoneinfo/Asia/Ho_Chi_Minh ] || echo tzdata
  for clock in systemd-timesyncd chrony ntpsec openntpd; do
    if is_installed "$clock"; then return; fi
  done
  echo systemd-timesyncd
}

packages() {
  # shellcheck disable=SC2046  # one word per package is what is wanted
  set -- $(missing_packages)
  if [ $# -eq 0 ]; then
    line ok "packages: all there" "gói Debian: đủ"
  else
    do_step "packages: $*" "gói Debian: $*" install_packages "$@"
    [ -n "$dry" ] || find_python "$python_wanted" >/dev/null ||
      fail "this system has no Python $python_wanted; make a bundle with --python for the one it has" \
        "hệ thống không có Python $python_wanted; hãy tạo gói với --python đúng phiên bản"
  fi
}

install_packages() { # From the bundle where it has them, else from the system's own sources.
  installed_packages >"$work/before"
  options="-q -y -o APT::Sandbox::User=root"
  if [ -e "$from/debs/Packages" ]; then
    mkdir -p "$work/lists/partial"
    # Trusted: the bundle's checksums have been verified.
    echo "deb [trusted=yes] file:$from/debs ./" >"$work/sources.list"
    options="$options -o Dir::Etc::SourceList=$work/sources.list -o Dir::Etc::SourceParts=- -o Dir::State::Lists=$work/lists"
    options="$options -o Dir::Cache::PkgCache= -o Dir::Cache::SrcPkgCache="
  fi
  code=0
  # shellcheck disable=SC2086
  { apt-get $options update &&
    DEBIAN_FRONTEND=noninteractive apt-get $options --no-install-recommends install "$@"; } || code=1
  mkdir -p "$OPT" # also when it failed half way: what is here now is ours to take away again
  { installed_packages | comm -13 "$work/before" -; cat "$DEBS" 2>/dev/null; } | sort -u >"$work/debs.now"
  mv "$work/debs.now" "$DEBS"
  return "$code"
}

# shellcheck disable=SC2016  # dpkg-query's own words, not the shell's
installed_packages() { dpkg-query --show --showformat '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort; }

install_release() {
  contents=
  [ ! -e "$from/requirements.txt" ] || contents=$(sha256sum <"$from/requirements.txt" | cut -d' ' -f1)
  installed=$(cat "$release/.installed" 2>/dev/null || true)
  if [ -n "$contents" ] && [ "$installed" = "$contents" ]; then
    line ok "release: $version" "bản phần mềm: $version"
    return
  fi
  # One name, one content: an update is made of another number, or nobody could tell what a box runs.
  [ -z "$installed" ] || [ -z "$contents" ] ||
    fail "version $version is installed already, with other contents; give the new one a number of its own" \
      "bản $version đã được cài với nội dung khác; bản mới phải có số phiên bản riêng"
  free_mb=$(df -Pm /opt | awk 'NR == 2 { print $4 }')
  [ "$free_mb" -ge "$LEAST_FREE_MB" ] ||
    fail "$free_mb MB are free on the disk of /opt; wanted $LEAST_FREE_MB" "ổ đĩa của /opt còn trống $free_mb MB; cần $LEAST_FREE_MB"
  do_step "release: $version, in $release" "bản phần mềm: $version, trong $release" make_release
}

make_release() { # The mark comes last: without it, what a power cut left is made anew.
  rm -rf "$release" &&
    "$(find_python "$python_wanted")" -m venv --without-pip "$release" &&
    PYTHONPATH=$(echo "$from"/wheels/pip-*.whl) "$release/bin/python" -m pip install --quiet --disable-pip-version-check \
      --no-cache-dir --no-index --find-links "$from/wheels" --no-deps --require-hashes -r "$from/requirements.txt" &&
    "$release/bin/$NAME" --version &&
    sync &&
    echo "$contents" >"$release/.installed" &&
    sync "$release/.installed"
}

# Where a file of the release's systemd/ belongs; nothing for one that is used where it is. An update of the agent knows
# it too (agent/update/units.py), and keeps the same list.
destination() {
  case "$1" in
    *.service | *.timer | *.path | *.socket) echo "$UNITS/$1" ;;
    sysusers.conf) echo "/usr/lib/sysusers.d/$NAME.conf" ;;
    journald.conf) echo "/etc/systemd/journald.conf.d/$NAME.conf" ;;
    system.conf) echo "/etc/systemd/system.conf.d/$NAME.conf" ;;
    udev.rules) echo "/etc/udev/rules.d/60-$NAME.rules" ;;
    udev-stick.rules) echo "/etc/udev/rules.d/90-$NAME-stick.rules" ;;
  esac
}

units() { # Copies, not links into the release: systemd reads them before everything is mounted.
  differ=
  : >"$work/files"
  for path in "$release/share/$NAME/systemd"/*; do
    to=$(destination "${path##*/}")
    if [ -n "$to" ]; then
      echo "$to" >>"$work/files"
      cmp -s "$path" "$to" || differ="$differ ${path##*/}"
    fi
  done
  sort -o "$work/files" "$work/files"
  stale=$(comm -13 "$work/files" "$LIST" 2>/dev/null || true)
  if [ -z "$differ$stale" ] && [ -s "$work/files" ] && [ "$(readlink "$LINK")" = "$OPT/current/bin/$NAME" ]; then
    line ok "units, udev rules, bounds of the log" "dịch vụ, luật udev, giới hạn nhật ký"
  else
    do_step "units, udev rules, bounds of the log:$differ" "dịch vụ, luật udev, giới hạn nhật ký:$differ" install_units
  fi
}

install_units() {
  cp "$work/files" "$work/list"
  put_file "$work/list" "$LIST" 644 root:root || return # first: what is listed and missing does no harm
  for path in $stale; do
    case "$path" in "$UNITS"/*) systemctl disable --now "${path##*/}" || true ;; esac # may never have been enabled
    rm -f "$path" || return
  done
  for name in $differ; do
    to=$(destination "$name")
    mkdir -p "${to%/*}" && put_file "$release/share/$NAME/systemd/$name" "$to" 644 root:root || return
  done
  replace_link "$OPT/current/bin/$NAME" "$LINK" && systemctl daemon-reload || return
  case "$differ" in *journald.conf*) systemctl try-restart systemd-journald.service || return ;; esac
  reload_udev
}

user() { # By the release's own list: who it is, and whose devices it may open.
  list=/usr/lib/sysusers.d/$NAME.conf
  lacking=
  id "$NAME" >/dev/null 2>&1 || lacking=$NAME
  for group in $(sed -n "s/^m $NAME \([a-z0-9]*\).*/\1/p" "$list" 2>/dev/null); do
    id -nG "$NAME" 2>/dev/null | tr ' ' '\n' | grep -qx "$group" || lacking="$lacking $group"
  done
  if [ -z "$lacking" ]; then
    line ok "user: $NAME" "người dùng: $NAME"
  else
    do_step "user and groups: $lacking" "người dùng và nhóm: $lacking" make_user
  fi
}

make_user() {
  cut -d: -f1 /etc/group | sort >"$work/groups"
  systemd-sysusers "$list" || return
  cut -d: -f1 /etc/group | sort | comm -13 "$work/groups" - | grep -vx "$NAME" >>"$MADE" || true
  reload_udev
}

directories() {
  set -- "$ETC" 755 root:root "$ETC/credentials" 750 "root:$NAME" "$DATA" 700 "$NAME:$NAME"
  wrong=
  while [ $# -gt 0 ]; do
    [ "$(mode_of "$1")" = "$2 $3" ] || wrong="$wrong $1"
    shift 3
  done
  if [ -z "$wrong" ]; then
    line ok "directories: $ETC $DATA" "thư mục: $ETC $DATA"
  else
    do_step "directories:$wrong" "thư mục:$wrong" make_directories
  fi
}

make_directories() {
  install -d -m 755 -o root -g root "$ETC" &&
    install -d -m 750 -o root -g "$NAME" "$ETC/credentials" &&
    install -d -m 700 -o "$NAME" -g "$NAME" "$DATA"
}

# ---- who the box is --------------------------------------------------------------------------------------------------

configuration() { # Which it is, and that it is right; written further down, when the rest is in place.
  if [ -n "$given_config" ]; then
    wanted_config=$given_config
  elif [ -e "$CONFIG" ] || [ -n "$dry" ]; then
    wanted_config=$CONFIG # not the card's: lines may have been drawn since
  elif [ -n "$card" ]; then
    wanted_config=$card/gateway.toml
  else
    ask_configuration
    wanted_config=$work/gateway.toml
  fi
  if [ -x "$release/bin/$NAME" ] && [ -e "$wanted_config" ]; then check_configuration "$wanted_config"; fi
}

write_configuration() {
  if cmp -s "$wanted_config" "$CONFIG" && [ "$(mode_of "$CONFIG")" = "640 root:$NAME" ]; then
    line ok "configuration: $CONFIG" "cấu hình: $CONFIG"
  else
    do_step "configuration: $CONFIG" "cấu hình: $CONFIG" put_configuration
  fi
}

put_configuration() {
  cp "$wanted_config" "$work/config" && put_file "$work/config" "$CONFIG" 640 "root:$NAME"
}

check_configuration() { # By the release that is to run; what runs now is not touched by a file that is wrong.
  code=0
  agent check --config "$1" --config-only >"$work/log" 2>&1 || code=$?
  [ "$code" -eq 0 ] || {
    cat "$work/log" >&2
    fail "the configuration is wrong, see above; what runs was not touched" \
      "cấu hình sai, xem bên trên; phần mềm đang chạy không bị thay đổi" "$code"
  }
}

answer() { # answer VARIABLE OPTION ENGLISH VIETNAMESE: what was given, or what is typed; else the option is missing
  eval "value=\$$1"
  if [ -z "$value" ] && [ -t 0 ]; then
    say "$3:" "$4:"
    read -r value || true
  fi
  [ -n "$value" ] || unanswered="$unanswered $2"
  case "$value" in
    *[\"\\]*) fail "$2: found $value; wanted no quotes and no backslash" "$2: có $value; không dùng dấu nháy và dấu gạch chéo ngược" 64 ;;
  esac
  eval "$1=\$value"
}

ask_configuration() {
  unanswered=
  answer site --site "the gateway's place, a short name such as cua-bac" "nơi lắp đặt, một tên ngắn như cua-bac"
  answer box --box "this box's own name there, such as gw-01" "tên riêng của thiết bị tại đó, như gw-01"
  answer broker --broker "broker of the operations centre, HOST or HOST:PORT" "máy chủ MQTT của trung tâm, MÁY hoặc MÁY:CỔNG"
  [ -z "$unanswered" ] || fail "no configuration, and nobody to ask; missing:$unanswered (or --config FILE)" \
    "chưa có cấu hình và không có ai để hỏi; còn thiếu:$unanswered (hoặc --config TỆP)" 64
  {
    printf '[box]\nsite = "%s"\nid = "%s"\n\n[[broker]]\nhost = "%s"\n' "$site" "$box" "${broker%:*}"
    case "$broker" in *:*) echo "port = ${broker##*:}" ;; esac
    [ -z "$ca" ] || echo "ca_file = \"$ETC/ca.pem\""
    echo
    if [ -n "$camera" ]; then
      printf '[[camera]]\nid = "camera-1"\nsource = "%s"\n' "$camera"
    else
      # Paragraphs to paste: those of cameras whose source is known.
      agent devices 2>/dev/null | awk 'BEGIN { RS = ""; ORS = "\n\n" } /^\[\[camera\]\]/ && /\nsource = / { print }'
    fi
  } >"$work/gateway.toml"
  if ! grep -q '^\[\[camera\]\]' "$work/gateway.toml"; then
    # Nothing to look with: the board's own thermometer makes a box that reports and can be configured later.
    thermometer=/sys/class/thermal/thermal_zone0/temp
    [ -r "$thermometer" ] || fail "no camera was found; give one: --camera rtsp://10.0.0.21/stream1, or --config FILE" \
      "không tìm thấy máy quay; hãy cho biết: --camera rtsp://10.0.0.21/stream1, hoặc --config TỆP" 64
    printf '[[sensor]]\nid = "board"\ndriver = "hwmon"\npath = "%s"\n' "$thermometer" >>"$work/gateway.toml"
  fi
}

secrets() {
  copy_each "$credentials" "$ETC/credentials" 600 "$NAME:$NAME" "camera logins" "thông tin đăng nhập máy quay"
  copy_each "$ca" "$ETC/ca.pem" 644 root:root "authority of the broker" "CA của máy chủ MQTT"
  [ -n "$trust" ] || [ ! -e "$from/trust.toml" ] || trust=$from/trust.toml
  if [ -n "$trust" ] && [ -e "$ETC/trust.toml" ] && [ "$(version_of "$trust")" -lt "$(version_of "$ETC/trust.toml")" ]; then
    line ok "keys that may sign updates: those on the box are newer, and stay" "khóa được phép ký bản cập nhật: khóa trên thiết bị mới hơn, được giữ lại"
  else
    copy_each "$trust" "$ETC/trust.toml" 644 root:root "keys that may sign updates" "khóa được phép ký bản cập nhật"
  fi
}

version_of() { # of a trust.toml; 0 if it has none
  version_found=$(sed -n 's/^version *= *\([0-9]\{1,9\}\).*/\1/p' "$1" | head -n 1)
  echo "${version_found:-0}"
}

enrol() { # The key is made on the box and stays there; the token is good once.
  [ -n "$enrol" ] || return 0
  if [ -e "$DATA/identity/box.pem" ]; then
    who=$(as_agent "$LINK" identity show --config "$CONFIG" 2>&1 | sed -n '1s/^[^:]*: //p')
    line ok "identity: $who" "định danh: $who"
    return
  fi
  changed
  if [ -n "$dry" ]; then
    line would "identity: certificate from $enrol" "định danh: chứng thư từ $enrol"
  elif get_certificate >"$work/log" 2>&1; then
    line "done" "identity: certificate from $enrol" "định danh: chứng thư từ $enrol"
  else
    # On a mast there may be no network yet: the box watches and stores all the same.
    sed 's/^/           /' "$work/log"
    line PROBLEM "identity: no certificate; run this again when the authority can be reached" \
      "định danh: chưa có chứng thư; hãy chạy lại khi kết nối được nơi cấp"
  fi
}

get_certificate() {
  install -m 600 -o "$NAME" -g "$NAME" "$token_file" "$DATA/.token" || return
  set -- --server "$enrol" --token-file "$DATA/.token"
  [ -z "$ca" ] || set -- "$@" --ca "$ETC/ca.pem"
  [ -z "$fingerprint" ] || set -- "$@" --fingerprint "$fingerprint"
  enrolled=0
  as_agent "$LINK" identity enrol --config "$CONFIG" "$@" || enrolled=$?
  rm -f "$DATA/.token"
  return "$enrolled"
}

copy_each() { # copy_each FROM TO MODE OWNER ENGLISH VIETNAMESE: a file, or the files of a folder, where they differ
  [ -n "$1" ] || return 0
  differ=
  if [ -d "$1" ]; then set -- "$@" "$1"/*; else set -- "$@" "$1"; fi
  source=$1 to=$2 mode=$3 owner=$4 english_name=$5 viet_name=$6
  shift 6
  for path in "$@"; do
    [ -f "$path" ] || continue
    target=$to
    [ ! -d "$source" ] || target=$to/${path##*/}
    cmp -s "$path" "$target" && [ "$(mode_of "$target")" = "$mode $owner" ] || differ=yes
  done
  if [ -z "$differ" ]; then
    line ok "$english_name: $to" "$viet_name: $to"
  else
    do_step "$english_name: $to" "$viet_name: $to" copy_all "$@"
  fi
}

copy_all() {
  for path in "$@"; do
    [ -f "$path" ] || continue
    target=$to
    [ ! -d "$source" ] || target=$to/${path##*/}
    put_file "$path" "$target" "$mode" "$owner" || return
  done
}

# ---- putting it to work ----------------------------------------------------------------------------------------------

refuse_two_at_once() { # An update of another kind that is being tried would take this one for its own.
  [ ! -e "$OPT/update/state.json" ] || grep -Eq '"phase": *"idle"' "$OPT/update/state.json" ||
    fail "an update is under way on this box; wait until it is over: $NAME update status" \
      "thiết bị đang cập nhật; hãy đợi xong: $NAME update status"
}

switch() {
  now=$(readlink "$OPT/current" || true)
  if [ "$now" = "releases/$version" ]; then
    line ok "current: $version" "đang dùng: $version"
  else
    do_step "current: $version${now:+, before: ${now#releases/}}" "đang dùng: $version${now:+, trước đó: ${now#releases/}}" \
      replace_link "releases/$version" "$OPT/current"
  fi
}

settle() { # It runs: from now on it is what an update falls back to. What no link points to is deleted.
  proven=$(readlink "$OPT/proven" || true)
  [ "$proven" != "releases/$version" ] || return 0
  [ -z "$proven" ] || replace_link "$proven" "$OPT/previous"
  agent update --config "$CONFIG" adopt "$version"
}

edited_since() { # Somebody has changed the configuration where it is, and the service has not read it yet.
  if [ "$changes" -gt 0 ] || ! is_active; then return; fi
  since=$(systemctl show --property=ActiveEnterTimestamp --value --timestamp=unix "$NAME.service")
  if [ "$(stat -c %Y "$CONFIG" 2>/dev/null || echo 0)" -gt "${since#@}" ]; then
    do_step "configuration: newer than the service, which is started anew" \
      "cấu hình: mới hơn dịch vụ, dịch vụ sẽ được khởi động lại" true
  fi
}

check_box() { # The cameras are free for it: the service is not running, or is stopped for what has changed.
  if [ -n "$dry" ]; then
    line would "check cameras, sensors, broker and clock, and write the report" \
      "kiểm tra máy quay, cảm biến, máy chủ, đồng hồ và lập biên bản"
    return
  fi
  if [ "$changes" -eq 0 ] && is_active; then
    line ok "check: nothing has changed since the last; again: gateway-agent check" \
      "kiểm tra: không có gì thay đổi từ lần trước; kiểm tra lại: gateway-agent check"
    return
  fi
  if is_active; then systemctl stop "$NAME.service"; fi
  code=0
  cd "$DATA" # where the service runs, too: relative paths mean the same
  as_agent "$LINK" check --config "$CONFIG" --report >"$work/check" 2>"$work/log" || code=$?
  cd /
  sed 's/^/           /' "$work/check"
  case "$code" in
    0) line "done" "check: everything is fine" "kiểm tra: mọi thứ đều tốt" ;;
    1) line PROBLEM "check: see above; the service reports what works" "kiểm tra: xem bên trên; dịch vụ vẫn báo những gì hoạt động" ;;
    *) cat "$work/log" >&2
      fail "the check ended with code $code, see above" "kiểm tra dừng với mã $code, xem bên trên" "$code" ;;
  esac
}

enable_units() {
  disabled=
  for path in $(cat "$LIST" 2>/dev/null || true); do
    case "$path" in
      "$UNITS"/*)
        ! grep -q '^\[Install\]' "$path" || systemctl --quiet is-enabled "${path##*/}" 2>/dev/null ||
          disabled="$disabled ${path##*/}"
        ;;
    esac
  done
  # shellcheck disable=SC2086
  [ -z "$disabled" ] || do_step "at every start of the board:$disabled" "mỗi khi bật máy:$disabled" systemctl enable $disabled
}

start() {
  enable_units
  if [ -n "$no_start" ]; then
    [ -n "$dry" ] || settle
    line ok "service: not started, as asked" "dịch vụ: không khởi động, theo yêu cầu"
  elif [ "$changes" -eq 0 ] && is_active; then
    line ok "service: runs" "dịch vụ: đang chạy"
  elif [ -n "$dry" ]; then
    line would "start the service" "khởi động dịch vụ"
  else
    start_service
  fi
}

start_service() { # systemctl waits until the agent says that it is ready.
  changed
  systemctl reset-failed "$NAME.service" 2>/dev/null || true
  # Reloaded again: a run that was broken off may have come no further than the files.
  systemctl daemon-reload
  if systemctl restart "$NAME.service" >"$work/log" 2>&1 && is_active; then
    settle
    for path in $(sed -n "\\|^$UNITS/|p" "$LIST"); do # not waited for: one of them is over when the clock is set
      ! grep -q '^\[Install\]' "$path" || systemctl start --no-block "${path##*/}"
    done
    line "done" "service: runs" "dịch vụ: đang chạy"
    return
  fi
  journalctl --no-pager --lines 15 --output cat --unit "$NAME.service" >&2 || true
  if [ -n "$now" ] && [ "$now" != "releases/$version" ]; then
    replace_link "$now" "$OPT/current"
    systemctl restart "$NAME.service" || true
    fail "version $version does not start, see above; ${now#releases/} runs again" \
      "bản $version không khởi động được, xem bên trên; ${now#releases/} chạy lại"
  fi
  fail "the service does not start, see above and: journalctl -u $NAME" \
    "dịch vụ không khởi động được, xem bên trên và: journalctl -u $NAME"
}

install_all() {
  look_at_system
  refuse_two_at_once
  if [ -n "$bundle" ]; then open_bundle; else make_own_bundle; fi
  packages
  install_release
  configuration
  units
  user
  directories
  write_configuration
  secrets
  switch
  enrol
  edited_since
  check_box
  start
  if [ -n "$dry" ]; then
    say "$changes step(s) would be taken; nothing was changed" "$changes bước sẽ được thực hiện; chưa thay đổi gì"
  elif [ "$changes" -eq 0 ]; then
    say "nothing to do: everything was as it should be" "không có gì phải làm: mọi thứ đã đúng"
  elif [ "$problems" -eq 0 ]; then
    say "done: $NAME $version is at work" "xong: $NAME $version đang làm việc"
  else
    say "installed, with $problems problem(s), see above" "đã cài, còn $problems lỗi, xem bên trên"
  fi
  [ "$problems" -eq 0 ]
}

# ---- taking it away --------------------------------------------------------------------------------------------------

stop_units() { # Timers and paths before what they start.
  for path in $(grep -E '\.(timer|path|socket)$' "$LIST"; grep '\.service$' "$LIST"); do
    case "$path" in
      *@.service) systemctl stop "$(basename "$path" .service)*" || true ;; # a template: what was made of it
      *) systemctl disable --now "${path##*/}" || return ;;
    esac
  done
}

uninstall() {
  [ -e "$OPT" ] || [ -e "$ETC" ] || [ -e "$DATA" ] || id "$NAME" >/dev/null 2>&1 || {
    say "nothing to do: $NAME is not installed" "không có gì phải làm: $NAME chưa được cài"
    return
  }
  if [ -z "$data" ]; then
    if confirm "Delete keys, configuration and what waits to be sent, too?" "Xóa cả khóa, cấu hình và dữ liệu chờ gửi?"; then
      data=delete
    elif [ -t 0 ]; then
      data=keep
    else
      fail "say what becomes of $ETC and $DATA: --keep-data or --delete-data" "hãy cho biết cách xử lý $ETC và $DATA: --keep-data hoặc --delete-data" 64
    fi
  fi
  [ ! -e "$LIST" ] || do_step "units: stop" "dịch vụ: dừng" stop_units
  cat "$DEBS" >"$work/debs" 2>/dev/null || true
  cat "$MADE" >"$work/made" 2>/dev/null || true
  do_step "files: $OPT, $LINK, units, udev rules" "tệp: $OPT, $LINK, dịch vụ, luật udev" remove_files
  if [ "$data" = delete ]; then
    do_step "data: $ETC $DATA" "dữ liệu: $ETC $DATA" rm -rf "$ETC" "$DATA"
    ! id "$NAME" >/dev/null 2>&1 || do_step "user: $NAME" "người dùng: $NAME" remove_user
  else
    # Without its name, what it owns would belong to whoever gets the number next.
    line ok "data: $ETC $DATA stay, and the user who owns them" "dữ liệu: giữ $ETC $DATA và người dùng sở hữu"
  fi
  remove_packages
  if [ -n "$dry" ]; then say "nothing was changed" "chưa thay đổi gì"; else say "$NAME is gone" "đã gỡ $NAME"; fi
}

remove_files() {
  for path in $(cat "$LIST" 2>/dev/null || true); do
    rm -f "$path" || return
  done
  if [ -L "$LINK" ]; then rm -f "$LINK" || return; fi
  rm -rf "$OPT" "$UNITS/$NAME".*.d "$UNITS/$NAME"-*.d || return # drop-ins, too
  rmdir /etc/systemd/journald.conf.d /etc/systemd/system.conf.d 2>/dev/null || true # others may have files there
  systemctl daemon-reload && systemctl try-restart systemd-journald.service || return
  systemctl reset-failed "$NAME*" 2>/dev/null || true
  reload_udev
}

remove_user() {
  userdel "$NAME" || return
  for group in "$NAME" $(cat "$work/made"); do
    # One that somebody else is in by now stays.
    case "$(getent group "$group")" in *:) groupdel "$group" || return ;; esac
  done
}

remove_packages() { # What apt put in on our behalf, unless something else has come to need it.
  ours=
  for package in $(cat "$work/debs"); do
    ! is_installed "$package" || ours="$ours $package"
  done
  [ -n "$ours" ] || return 0
  # shellcheck disable=SC2086
  others=$(apt-get --simulate purge $ours 2>/dev/null | sed -n 's/^\(Purg\|Remv\) \([^ ]*\).*/\2/p' | sort -u |
    while read -r package; do case " $ours " in *" $package "*) ;; *) echo "$package" ;; esac; done)
  if [ -n "$others" ]; then
    line ok "packages stay, needed by:" "giữ gói Debian, còn cần cho:"
    echo "$others"
  else
    # shellcheck disable=SC2086
    do_step "packages:$ours" "gói Debian:$ours" env DEBIAN_FRONTEND=noninteractive apt-get -q -y purge $ours
  fi
}

factory_reset() {
  [ -e "$OPT/current" ] || fail "$NAME is not installed" "$NAME chưa được cài"
  [ -n "$yes" ] || [ -n "$dry" ] || confirm "Delete this box's keys, logins, outbox and pictures?" "Xóa khóa, mật khẩu, hàng đợi và ảnh của thiết bị này?" ||
    fail "not without a yes; --yes if nobody can be asked" "cần được đồng ý; --yes nếu không có ai để hỏi" 64
  do_step "units: stop" "dịch vụ: dừng" stop_units
  do_step "keys, certificates, outbox, pictures, reports: $DATA" "khóa, chứng thư, hàng đợi, ảnh, biên bản: $DATA" \
    find "$DATA" -mindepth 1 -delete
  if [ -z "$keep_config" ]; then
    do_step "configuration and camera logins: $ETC" "cấu hình và thông tin đăng nhập máy quay: $ETC" forget_place
  fi
  sync
  say "the box has forgotten its place; run provision.sh again to give it one" \
    "thiết bị đã quên nơi lắp đặt; chạy lại provision.sh để cấu hình"
}

forget_place() { # trust.toml stays: who may sign updates belongs to the installation
  rm -f "$CONFIG" "$ETC/ca.pem" && find "$ETC/credentials" -mindepth 1 -delete
}

# ---- the command -----------------------------------------------------------------------------------------------------

read_card() { # What the city's authority wrote for one box: a folder.
  [ -n "$card" ] || return 0
  [ -e "$card/gateway.toml" ] && [ -e "$card/token" ] ||
    fail "--card $card: wanted a folder with gateway.toml, ca.pem and token" "--card $card: cần thư mục có gateway.toml, ca.pem và token" 64
  : "${token_file:=$card/token}" "${ca:=$card/ca.pem}"
  [ -n "$enrol" ] || [ ! -e "$card/server" ] || enrol=$(cat "$card/server")
}

main() {
  bundle= sha256= given_config= credentials= trust= no_start= dry= data= yes= keep_config= now=
  card= enrol= token_file= fingerprint=
  site=${GATEWAY_SITE:-} box=${GATEWAY_BOX:-} broker=${GATEWAY_BROKER:-} ca=${GATEWAY_CA:-} camera=${GATEWAY_CAMERA:-}
  task=install_all
  while [ $# -gt 0 ]; do
    case "$1" in
      -h | --help) usage; exit 0 ;;
      --dry-run) dry=yes ;;
      --no-start) no_start=yes ;;
      --uninstall) task=uninstall ;;
      --factory-reset) task=factory_reset ;;
      --keep-data) data=keep ;;
      --delete-data) data=delete ;;
      --keep-config) keep_config=yes ;;
      --yes) yes=yes ;;
      --offline | --sha256 | --config | --credentials | --trust | --site | --box | --broker | --ca | --camera | \
        --card | --enrol | --token-file | --fingerprint)
        [ $# -gt 1 ] || fail "$1 needs a value; see --help" "$1 cần một giá trị; xem --help" 64
        case "$1" in
          --offline) bundle=$2 ;;
          --sha256) sha256=$2 ;;
          --config) given_config=$2 ;;
          --credentials) credentials=$2 ;;
          --trust) trust=$2 ;;
          --site) site=$2 ;;
          --box) box=$2 ;;
          --broker) broker=$2 ;;
          --ca) ca=$2 ;;
          --camera) camera=$2 ;;
          --card) card=$2 ;;
          --enrol) enrol=$2 ;;
          --token-file) token_file=$2 ;;
          --fingerprint) fingerprint=$2 ;;
        esac
        shift
        ;;
      *) fail "unknown argument $1; see --help" "tham số lạ $1; xem --help" 64 ;;
    esac
    shift
  done
  read_card
  for path in "$given_config" "$credentials" "$trust" "$ca" "$token_file"; do
    [ -z "$path" ] || [ -r "$path" ] || fail "$path: cannot be read" "$path: không đọc được" 64
  done
  [ -n "$dry" ] || [ "$(id -u)" = 0 ] || fail "needs root: sudo sh provision.sh ..." "cần quyền root: sudo sh provision.sh ..."
  [ -z "$enrol" ] || [ -n "$token_file" ] ||
    fail "--enrol needs --token-file, or --card" "--enrol cần --token-file, hoặc --card" 64
  umask 022
  work=$(mktemp -d "${TMPDIR:-/var/tmp}/provision.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  trap 'exit 1' INT TERM HUP
  "$task"
}

main "$@"
