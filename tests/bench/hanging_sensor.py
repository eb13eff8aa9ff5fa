"""What sensors that hang for ever cost the others: one agent, in turns with and without the hang, side by side.

    python -m tests.bench.hanging_sensor [--rounds 6] [--window-s 15]

Two thermometers hang in their driver's call, one on a bus with another sensor, one on a bus of its own: their files
become pipes that nobody writes to, and are mended for the next window. Meanwhile are measured the camera (a real RTSP
server; every picture goes through the detector), a Modbus TCP sensor that is asked 20 times a second, one on a serial
line (a pair of terminals) 5 times a second, and separately the sensor that shares its bus with what hangs, which waits
until the hang is known for one.

ratio: with the hang over without it, each window against the one just before it, median and range of the rounds. noise:
the same of each window without hang against the one without before it. Equal ranges mean that the hang costs nothing.
"""

from __future__ import annotations

import argparse
import errno
import os
import statistics
import sys
import tempfile
import time
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from agent.uplink.settings import Broker
from drivers.sensors.fakes import w1_slave
from tests.support.command import Agent, broker_lines, eventually, write_config
from tests.support.consumer import Consumer
from tests.support.mosquitto import Mosquitto, free_port
from tests.support.rtsp import RtspServer, why_no_rtsp_server
from tests.support.sensor_rig import ModbusServer, PtyPair, running

_SETTLE_S = 2.0
_LAST_WORD_S = 0.5  # so that the neighbour has said something between
SENSORS = """
[[sensor]]
id = "network"
driver = "modbus-tcp"
host = "127.0.0.1"
port = {port}
interval_s = 0.05
  [[sensor.quantity]]
  id = "count"
  unit = "1"
  register = 0

[[sensor]]
id = "serial"
driver = "modbus-rtu"
port = "{serial}"
interval_s = 0.2
  [[sensor.quantity]]
  id = "count"
  unit = "1"
  register = 0

[[sensor]]
id = "neighbour"
driver = "ds18b20"
device = "{folder}/28-neighbour"
interval_s = 0.2
stale_s = 60

[[sensor]]
id = "hangs"
driver = "ds18b20"
device = "{folder}/28-hangs"
interval_s = 0.2
timeout_s = 0.5
stale_s = 60

[[sensor]]
id = "alone"
driver = "hwmon"
path = "{folder}/hwmon0/temp1_input"
interval_s = 0.2
timeout_s = 0.5
stale_s = 60
"""

Window = dict[str, float]


class Hang:
    """A file whose reader does not come back, and again one that has a value."""

    def __init__(self, path: Path, text: str) -> None:
        self._path, self._text = path, text
        path.parent.mkdir(parents=True)
        path.write_text(text)

    def begin(self) -> None:
        partial = self._path.with_name(".pipe")  # never missing: a sensor that is gone is asked again later only
        os.mkfifo(partial)
        partial.rename(self._path)

    def end(self) -> None:
        """Whoever hangs in it gets the text."""
        deadline_s = time.monotonic() + 10
        while True:
            try:
                pipe = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
                break
            except OSError as exc:
                if exc.errno != errno.ENXIO or time.monotonic() > deadline_s:
                    raise  # nobody reads it: then nothing hung
                time.sleep(0.01)
        partial = self._path.with_name(".new")
        partial.write_text(self._text)
        partial.rename(self._path)
        os.write(pipe, self._text.encode())
        os.close(pipe)


def measure(ioc: Consumer, window_s: float) -> Window:
    """Rates per second of the agent's own time; gaps between readings in ms, as their times say."""
    first = next_pulse(ioc)
    began = len(ioc.messages)
    time.sleep(window_s)
    messages, last = ioc.messages[began:], next_pulse(ioc)
    spent_s = last["uptime_s"] - first["uptime_s"]
    inferred = last["cameras"]["cam"]["inferred"] - first["cameras"]["cam"]["inferred"]
    found = {"camera, pictures through the detector per s": inferred / spent_s}
    for name in ("network", "serial"):
        times = [m["up"] for m in messages if m["topic"].endswith(f"/reading/{name}")]
        gaps = sorted(later - earlier for earlier, later in pairwise(times))
        found[f"{name}, readings per s"] = len(times) / window_s
        found[f"{name}, longest time between two, ms"] = gaps[-1] if gaps else float("inf")
    return found


def next_pulse(ioc: Consumer) -> dict[str, Any]:
    pulses = sum(topic.endswith("/health") for topic, _ in ioc.other)
    if not eventually(lambda: sum(topic.endswith("/health") for topic, _ in ioc.other[:]) > pulses):
        raise RuntimeError("the agent's pulse has stopped")
    return next(fields for topic, fields in reversed(ioc.other[:]) if topic.endswith("/health"))


def longest_gap_s(ioc: Consumer, name: str, since: int) -> float:
    times = [m["up"] for m in ioc.messages[since:] if m["topic"].endswith(f"/reading/{name}")]
    return max((later - earlier for earlier, later in pairwise(times)), default=float("inf")) / 1000


def run(rounds: int, window_s: float) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rig = folder / "rig"
        hangs = [
            Hang(rig / "28-hangs" / "w1_slave", w1_slave(21.0)),
            Hang(rig / "hwmon0" / "temp1_input", "22000\n"),
        ]
        neighbour = rig / "28-neighbour" / "w1_slave"
        neighbour.parent.mkdir()
        neighbour.write_text(w1_slave(20.0))
        cable, port = PtyPair(), free_port()
        asked, asked_serial = count(), count()

        def moving() -> list[int]:
            """All that is measured moves each time it is asked, so that each reading is sent."""
            number = next(asked)
            partial = neighbour.with_name(".new")
            partial.write_text(w1_slave(20.0 + number % 160 / 16))
            partial.rename(neighbour)
            return [number % 65536]

        servers = ModbusServer(port, moving), ModbusServer(cable.ends[0], lambda: [next(asked_serial) % 65536])
        with Mosquitto(folder / "broker") as broker, RtspServer() as camera, running(*servers):
            config = write_config(
                folder,
                camera.url(),
                camera="motion_gate = false",
                rules="",
                broker=broker_lines(broker.port),
                more=SENSORS.format(port=port, serial=cable.ends[1], folder=rig),
            )
            with Consumer(Broker("127.0.0.1", broker.port)) as ioc, Agent(config) as agent:
                if not eventually(lambda: len(next_pulse(ioc)["sensors"]) == 5 and pictures(ioc)):
                    sys.exit(f"the agent did not get well:\n{agent.log()}")
                time.sleep(5)  # start-up is over
                report(*turns(ioc, hangs, rounds, window_s))
        cable.close()


def pictures(ioc: Consumer) -> bool:
    return bool(next_pulse(ioc)["cameras"]["cam"]["inferred"])


def turns(
    ioc: Consumer, hangs: list[Hang], rounds: int, window_s: float
) -> tuple[list[Window], list[Window], list[float]]:
    without, with_hang, waits_s = [], [], []
    for number in range(rounds):
        time.sleep(_SETTLE_S)
        without.append(measure(ioc, window_s))
        since = len(ioc.messages)
        time.sleep(_LAST_WORD_S)
        for hang in hangs:
            hang.begin()
        time.sleep(_SETTLE_S)
        with_hang.append(measure(ioc, window_s))
        waits_s.append(longest_gap_s(ioc, "neighbour", since))
        for hang in hangs:
            hang.end()
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return without, with_hang, waits_s


def report(without: list[Window], with_hang: list[Window], waits_s: list[float]) -> None:
    def spread(ratios: list[float]) -> str:
        return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"

    def middle(windows: list[Window], name: str) -> str:
        return f"{statistics.median(window[name] for window in windows):.4g}"

    print("| | without | with two that hang | ratio | noise |\n|---|---|---|---|---|")
    for name in without[0]:
        ratios = [after[name] / before[name] for before, after in zip(without, with_hang, strict=True)]
        noise = [after[name] / before[name] for before, after in pairwise(without)]
        print(f"| {name} | {middle(without, name)} | {middle(with_hang, name)} | {spread(ratios)} | {spread(noise)} |")
    print(
        f"\nthe sensor on the bus of one that hangs waited {min(waits_s):.1f} to {max(waits_s):.1f} s, once each time"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.hanging_sensor", description="What a hang costs.")
    parser.add_argument("--rounds", type=int, default=6, help="windows with the hang, and as many without (2 or more)")
    parser.add_argument("--window-s", type=float, default=15.0)
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds: wanted at least 2, as noise is told by the windows without hang")
    if (why := why_no_rtsp_server()) is not None:
        sys.exit(why)
    run(options.rounds, options.window_s)


if __name__ == "__main__":
    main()
