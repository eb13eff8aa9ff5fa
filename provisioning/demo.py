"""The second half of demo.sh: a broker, a configuration, the real `run` and the real `watch`, and a summary.

Runs inside the environment that demo.sh made. Everything it starts it ends by process id, also on Ctrl-C; its files
are in one folder, emptied at every start.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from agent.ops.words import language

PROGRAM = Path(sys.executable).with_name("gateway-agent")
_WORDS = {
    "starting": ("watching {source}; alerts as they arrive at {broker}:", "đang xem {source}; cảnh báo đến {broker}:"),
    "stop-with": ("Ctrl-C ends it", "nhấn Ctrl-C để dừng"),
    "first": ("first alert {s} s after the start", "cảnh báo đầu tiên sau {s} giây kể từ lúc chạy"),
    "none": ("no alert arrived", "không có cảnh báo nào đến"),
    "arrived": ("{n} alerts arrived", "{n} cảnh báo đã đến"),
    "line": ("  line {line}, {direction}: {n}", "  vạch {line}, {direction}: {n}"),
    "zone": ("  zone {zone}, {kind}: {n}", "  vùng {zone}, {kind}: {n}"),
    "ledger-fine": ("ledger: nothing missing", "sổ sự kiện: không thiếu tin nào"),
    "ledger-bad": ("ledger: messages are MISSING, see above", "sổ sự kiện: THIẾU tin, xem bên trên"),
    "picture": ("picture: {path}", "hình: {path}"),
    "agent-failed": ("the agent ended with exit code {code}:", "chương trình dừng với mã {code}:"),
    "busy": ("another demo runs in {folder}", "một bản thử khác đang chạy trong {folder}"),
    "no-broker": ("cannot watch the broker {broker}", "không theo dõi được máy chủ MQTT {broker}"),
}


def say(key: str, **values: object) -> None:
    english, vietnamese = _WORDS[key]
    print((vietnamese if language() == "vi" else english).format(**values), flush=True)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(64, f"demo.sh: {message}; see sh provisioning/demo.sh --help\n")


def arguments() -> argparse.Namespace:
    parser = Parser(add_help=False, allow_abbrev=False)  # demo.sh has the help, in two languages
    parser.add_argument("--source")
    parser.add_argument("--credentials", type=Path)
    parser.add_argument("--broker")
    parser.add_argument("--loop", action="store_true")
    parser.add_argument("--began", type=float, default=time.time(), help="when demo.sh started, Unix seconds")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--clip", type=Path, required=True)
    return parser.parse_args()


def configuration(args: argparse.Namespace, broker: str) -> str:
    """A gateway.toml. The lines fit the demo's own recording; another source gets one each way through its middle."""
    host, _, port = broker.rpartition(":")
    lines = [
        '[box]\nsite = "demo"\nid = "gw-demo"\n',
        f"[[broker]]\nhost = {quoted(host)}\nport = {port}\ntls = false\n",
        f"[outbox]\npath = {quoted(args.folder / 'outbox.db')}\nmax_mb = 64\nalert_reserve_mb = 16\n",
        "[health]\ninterval_s = 10\n",
        f'[[camera]]\nid = "square"\nsource = {quoted(args.source)}',
        f"loop = {str(args.loop).lower()}\ncount_interval_s = 20",
    ]
    if args.credentials:
        lines.append(f"credentials_file = {quoted(args.credentials.absolute())}")
    if args.source == f"file:{args.clip}":
        lines.append('\n[[camera.line]]\nid = "road"\na = [0.72, 0.78]\nb = [0.66, 0.27]')
        corners = [[0.0, 0.5], [0.2, 0.55], [0.45, 0.69], [0.7, 0.83], [1.0, 0.98], [1.0, 1.0], [0.0, 1.0]]
        lines.append(f'\n[[camera.zone]]\nid = "lawn"\nclasses = ["person"]\npolygon = {corners}\ndwell_s = 3')
    else:
        lines.append('\n[[camera.line]]\nid = "across"\na = [0.02, 0.6]\nb = [0.98, 0.6]')
        lines.append('\n[[camera.line]]\nid = "upright"\na = [0.5, 0.98]\nb = [0.5, 0.02]')
    return "\n".join(lines) + "\n"


def quoted(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False)  # TOML reads what JSON writes


@contextlib.contextmanager
def broker_at(folder: Path, given: str | None) -> Iterator[str]:
    """HOST:PORT of the broker given, or of one of our own on a free port of this machine alone."""
    if given:
        yield given if re.search(r":\d+$", given) else f"{given}:1883"
        return
    from iotcore import Broker

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "broker.toml"
    config.write_text(
        f"""
id = 0
[router]
id = 0
max_connections = 20
max_outgoing_packet_count = 200
max_segment_size = 10485760
max_segment_count = 10
[v5.1]
name = "demo"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 10000
max_payload_size = 262144
max_inflight_count = 100
dynamic_filters = true
"""
    )
    with Broker(config_path=str(config)):
        yield f"127.0.0.1:{port}"


class Tally:
    """Shows the subscriber's lines as they come, and counts the alerts among them."""

    def __init__(self, began_s: float) -> None:
        self.alerts = 0
        self.first_s: float | None = None
        self.lines: Counter[tuple[str, str]] = Counter()
        self.zones: Counter[tuple[str, str]] = Counter()
        self.listening = threading.Event()
        self._began_s = began_s

    def read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for text in process.stdout:
            print(text, end="", flush=True)
            if " alert/" in text:
                self._count(text)

    def _count(self, text: str) -> None:
        if self.first_s is None:
            self.first_s = time.time() - self._began_s
        self.alerts += 1
        fields = dict(re.findall(r"(\w+)=(\S+)", text))
        kind = re.search(r"#\d+ (\S+)", text)
        if "line" in fields:
            self.lines[fields["line"], fields["direction"]] += 1
        elif "zone" in fields and kind:
            self.zones[fields["zone"], kind[1]] += 1


def end(process: subprocess.Popen[str], number: signal.Signals, patience_s: float) -> int:
    if process.poll() is None:
        process.send_signal(number)
    try:
        return process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def show(args: argparse.Namespace, broker: str) -> int:
    """Run the agent to the end of its recording, or to Ctrl-C; the demo's exit code."""
    config, pictures, log = args.folder / "gateway.toml", args.folder / "pictures", args.folder / "agent.log"
    config.write_text(configuration(args, broker), encoding="utf-8")
    tally = Tally(args.began)
    topics = [f"--topic=gw/v1/demo/gw-demo/{name}" for name in ("state", "alert/#", "count/#")]
    # Sessions of their own: Ctrl-C reaches this program alone, which then ends them in the right order.
    watch = subprocess.Popen(
        [PROGRAM, "watch", "--broker", broker, *topics, "--from-start"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    reader = threading.Thread(target=tally.read, args=(watch,))
    reader.start()
    say("starting", source=args.source, broker=broker)
    if args.loop or not args.source.startswith("file:"):
        say("stop-with")
    with log.open("w") as log_file:
        agent = subprocess.Popen(
            [PROGRAM, "run", "--config", config, "--pictures", pictures],
            stdout=log_file,
            stderr=log_file,
            text=True,
            start_new_session=True,
        )
    code, deaf = 0, False
    try:
        while agent.poll() is None and watch.poll() is None:
            time.sleep(0.1)
        code = agent.poll() or 0
        deaf = agent.poll() is None
    except KeyboardInterrupt:
        print()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the rest is quick, and should not be cut short
        end(agent, signal.SIGTERM, 20)
        time.sleep(0.5)  # for what is still on its way from the broker
        missing = end(watch, signal.SIGINT, 10)
        reader.join(10)
    if deaf:
        say("no-broker", broker=broker)
        return 1
    return summary(tally, code, missing, pictures / "square.jpg", log)


def summary(tally: Tally, code: int, missing: int, picture: Path, log: Path) -> int:
    print()
    if code:
        say("agent-failed", code=code)
        print("".join(log.read_text(errors="replace").splitlines(keepends=True)[-5:]), end="")
    say("arrived", n=tally.alerts) if tally.alerts else say("none")
    for (line, direction), n in sorted(tally.lines.items()):
        say("line", line=line, direction=direction, n=n)
    for (zone, kind), n in sorted(tally.zones.items()):
        say("zone", zone=zone, kind=kind, n=n)
    say("ledger-bad" if missing else "ledger-fine")
    if tally.first_s is not None:
        say("first", s=round(tally.first_s))
    if picture.exists():
        say("picture", path=picture)
    return 1 if code or missing or not tally.alerts else 0


def main() -> int:
    args = arguments()
    args.source = args.source or f"file:{args.clip}"
    if args.source.startswith("file:"):
        args.source = f"file:{Path(args.source.removeprefix('file:')).absolute()}"
    args.folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(args.folder.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("busy", folder=args.folder)
        return 1
    shutil.rmtree(args.folder)
    args.folder.mkdir()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with broker_at(args.folder, args.broker) as broker:
        return show(args, broker)


if __name__ == "__main__":
    sys.exit(main())
