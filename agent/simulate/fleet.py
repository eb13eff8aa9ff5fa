"""Many light boxes on one machine, and the account of what each of them numbered.

Each box has what it has on its pole: an outbox with its writer's thread and a sync for every commit, a link with a
thread of its own, its own connection, client id and session. Left out are cameras, detection, tracking and sensors;
their threads are a few hands per process that store what happens when it happens. The boxes share a disk, which is
harder on them than a card each; when the machine cannot keep up, the account says by how much it was late.
"""

from __future__ import annotations

import heapq
import logging
import multiprocessing
import random
import resource
import shutil
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event as EventType
from pathlib import Path
from typing import Any

from agent.errors import GatewayError
from agent.simulate.box import Faults, SimulatedBox, draw_faults
from agent.simulate.traffic import TYPICAL, Gateway
from agent.tls import IdentityFolder
from agent.uplink import Broker, Login, Tls, UplinkSettings

_HANDS = 8  # threads of a process that store: as many boxes can wait for the disk at once
_DRAIN_S = 300.0
_END_S = 120.0
_RAMP_S = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to simulate. The same plan gives the same happenings; only what the network makes of them differs.

    brokers: nodes of one cluster; a box starts with one of them and knows the others. identities: a folder with an
    identity folder (box.pem, ca.pem) for each box, by its id. second_of_day: whose traffic is made at the beginning.
    """

    boxes: int
    brokers: tuple[tuple[str, int], ...]
    length_s: float
    folder: Path
    site: str = "sim"
    seed: int = 1
    processes: int = 4
    second_of_day: float = 12 * 3600.0
    payload: str = "json"
    ca: Path | None = None
    identities: Path | None = None
    login: Login | None = None
    calm: bool = False  # no outages, no faults of clocks
    gateway: Gateway = field(default=TYPICAL)

    def ids(self) -> list[str]:
        return [f"box-{number:04d}" for number in range(1, self.boxes + 1)]

    def settings(self, number: int, box: str) -> UplinkSettings:
        turn = number % len(self.brokers)
        identity = IdentityFolder(self.identities / box) if self.identities is not None else None
        tls = Tls(ca=self.ca, identity=identity) if identity is not None or self.ca is not None else None
        return UplinkSettings(
            site=self.site,
            box=box,
            brokers=tuple(Broker(host, port, tls) for host, port in (*self.brokers[turn:], *self.brokers[:turn])),
            login=self.login,
            payload="cbor" if self.payload == "cbor" else "json",
            agent_version="simulated",
        )


class Fleet:
    """The boxes of one process, from start to account."""

    def __init__(self, plan: Plan, numbers: list[int], stop: threading.Event) -> None:
        self._plan = plan
        self._numbers = numbers
        self._stop = stop
        self._boxes: list[SimulatedBox] = []
        self._busy = threading.Lock()

    def run(self) -> dict[str, Any]:
        began_s = time.monotonic()
        hands = [threading.Thread(target=self._hand, args=(n,), name=f"hand-{n}") for n in range(_HANDS)]
        for hand in hands:
            hand.start()
        for hand in hands:
            hand.join()
        ran_s = time.monotonic() - began_s
        drained_s = self._drain()
        rss_bytes = _rss_bytes()
        threads = threading.active_count()
        puts_ms = sorted(ms for box in self._boxes for ms in box.puts_ms)
        late_s = max((box.late_s for box in self._boxes), default=0.0)
        boxes = {box.name: box.end() for box in self._boxes}
        for box in self._boxes:
            box.vanish()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "boxes": boxes,
            "ran_s": round(ran_s, 1),
            "drain_s": round(drained_s, 1),
            "late_s": round(late_s, 2),
            "put_ms": {"p50": _quantile(puts_ms, 0.5), "p99": _quantile(puts_ms, 0.99)},
            "rss_bytes": rss_bytes,
            "threads": threads,
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        }

    def _hand(self, hand: int) -> None:
        """Make every _HANDS-th box at its time, and play their days."""
        plan = self._plan
        mine = self._numbers[hand::_HANDS]
        # A city's boxes are not switched on in one second; nor are ours, or the test would be one of that alone.
        ramp_s = min(_RAMP_S, plan.length_s / 4)
        began_s = time.monotonic()
        starts = [began_s + ramp_s * n / len(mine) for n in range(len(mine))]
        agenda: list[tuple[float, int, SimulatedBox | None]] = [
            (at_s, number, None) for at_s, number in zip(starts, mine, strict=True)
        ]
        while agenda and not self._stop.is_set():
            at_s, number, box = agenda[0]
            if (wait_s := at_s - time.monotonic()) > 0 and self._stop.wait(wait_s):
                return
            if box is None:
                box = self._make(number, plan.length_s - (at_s - began_s))
            else:
                box.step()
            due_s = box.due_s()
            if due_s is None:
                heapq.heappop(agenda)
            else:
                heapq.heapreplace(agenda, (due_s, number, box))

    def _make(self, number: int, length_s: float) -> SimulatedBox:
        plan = self._plan
        name = plan.ids()[number]
        seed = f"{plan.seed}/{name}"
        faults = Faults() if plan.calm else draw_faults(random.Random(f"{seed}/faults"), length_s)
        box = SimulatedBox(
            plan.settings(number, name),
            plan.folder / name,
            plan.gateway,
            seed=seed,
            start_s=plan.second_of_day,
            length_s=length_s,
            faults=faults,
        )
        with self._busy:
            self._boxes.append(box)
        return box

    def _drain(self) -> float:
        """Until every box is rid of what it numbered, or has had its time."""
        began_s = time.monotonic()
        while time.monotonic() - began_s < _DRAIN_S and any(box.waiting() for box in self._boxes):
            time.sleep(0.5)
        return time.monotonic() - began_s


def simulate(plan: Plan, stop: EventType | None = None) -> dict[str, Any]:
    """Run the plan in processes of its own. Returns the account: what each box numbered, and what it cost.

    Raises GatewayError if a process ends without its account.
    """
    context = multiprocessing.get_context("spawn")
    stop = stop or context.Event()
    began_s = time.monotonic()
    processes, ends = [], []
    numbers = list(range(plan.boxes))
    plan.folder.mkdir(parents=True, exist_ok=True)
    for n in range(min(plan.processes, plan.boxes)):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(plan, numbers[n :: plan.processes], stop, theirs), daemon=True)
        process.start()
        theirs.close()
        processes.append(process)
        ends.append(ours)
    parts = [_account_of(end, plan.length_s + _DRAIN_S + _END_S) for end in ends]
    for process in processes:
        process.join(_END_S)
    boxes = {name: box for part in parts for name, box in part.pop("boxes").items()}
    return {
        "site": plan.site,
        "boxes": dict(sorted(boxes.items())),
        "processes": parts,
        "numbered": sum(sum(box["last"].values()) for box in boxes.values()),
        "waiting": sum(box["waiting"] for box in boxes.values()),
        "not_stored": sum(box["not_stored"] for box in boxes.values()),
        "took_s": round(time.monotonic() - began_s, 1),
    }


def _work(plan: Plan, numbers: list[int], stop: EventType, account: Connection) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a box has ten files open
    logging.getLogger("agent.uplink").setLevel(logging.ERROR)  # outages are part of the plan, and in the account
    stopped = threading.Event()

    def pass_on() -> None:
        stop.wait()
        stopped.set()

    threading.Thread(target=pass_on, name="stop", daemon=True).start()
    account.send(Fleet(plan, numbers, stopped).run())
    account.close()


def _account_of(end: Connection, within_s: float) -> dict[str, Any]:
    if not end.poll(within_s):
        raise GatewayError(f"a process with simulated boxes gave no account in {within_s:g} s")
    try:
        part: dict[str, Any] = end.recv()
    except EOFError as exc:
        raise GatewayError("a process with simulated boxes ended without its account; see its words above") from exc
    return part


def _quantile(ordered: list[float], share: float) -> float | None:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 2) if ordered else None


def _rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def forget(folder: Path) -> None:
    """The boxes' outboxes, once their account is settled."""
    shutil.rmtree(folder, ignore_errors=True)
