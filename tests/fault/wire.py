"""A network of two ends with a wire that can be bad: whole IP packets are lost, late, or queue behind a slow modem.

One end is a network namespace of our own, the other this machine; the wire between them is a thread that carries
packets from one TUN device to the other. TCP at both ends is the kernel's, so what is tested is what happens outdoors.
Needs root and /dev/net/tun; the addresses are from the range for benchmarks (198.18.0.0/15) and lead nowhere else.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time
from types import TracebackType

_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_MAX_QUEUE_S = 4.0  # what a modem keeps before it drops


def why_not() -> str | None:
    """Why there can be no wire here, or None."""
    if os.geteuid() != 0:
        return "a network namespace needs root"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "no /dev/net/tun"
    if shutil.which("ip") is None or shutil.which("nsenter") is None:
        return "no ip or no nsenter; apt-get install iproute2 util-linux"
    return None


class Wire:
    """Attributes may be set at any time: cut, loss (0 to 1), delay_s (one way), bytes_per_s (None: no limit)."""

    def __init__(self, seed: int) -> None:
        self.cut = False
        self.loss = 0.0
        self.delay_s = 0.0
        self.bytes_per_s: float | None = None
        self._chance = random.Random(seed)
        self._ended = threading.Event()
        number = os.getpid() % 16384
        base = (198 << 24) + (18 << 16) + number * 4
        self.there, self.here = (".".join(str((base + i) >> s & 255) for s in (24, 16, 8, 0)) for i in (1, 2))
        self.namespace = f"gwfault{os.getpid()}"
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)

    @property
    def command(self) -> list[str]:
        """What to put before a command that shall run at the far end."""
        # Not `ip netns exec`: that also makes a mount namespace, where a later remount would not be seen.
        return ["nsenter", f"--net=/run/netns/{self.namespace}"]

    def __enter__(self) -> Wire:
        names = [f"gwf{end}{os.getpid()}" for end in "ab"]
        self._ends = [_tun(name) for name in names]
        there, here = names
        for line in (
            f"ip netns add {self.namespace}",
            f"ip link set {there} netns {self.namespace}",
            f"ip netns exec {self.namespace} ip link set lo up",
            f"ip netns exec {self.namespace} ip addr add {self.there}/30 dev {there}",
            f"ip netns exec {self.namespace} ip link set {there} up",
            f"ip addr add {self.here}/30 dev {here}",
            f"ip link set {here} up",
        ):
            subprocess.run(line.split(), check=True, capture_output=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(5)
        for fd in self._ends:
            os.close(fd)
        subprocess.run(["ip", "netns", "del", self.namespace], check=False, capture_output=True)

    def mend(self) -> None:
        self.cut, self.loss, self.delay_s, self.bytes_per_s = False, 0.0, 0.0, None

    def _run(self) -> None:
        due: list[tuple[float, int, int, bytes]] = []  # when, tie-breaker, to which end, packet
        free_s = [0.0, 0.0]
        count = 0
        while not self._ended.is_set():
            wait_s = min(0.1, max(0.0, due[0][0] - time.monotonic())) if due else 0.1
            ready, _, _ = select.select(self._ends, [], [], wait_s)
            now_s = time.monotonic()
            for fd in ready:
                packet = os.read(fd, 65536)
                to = 1 - self._ends.index(fd)
                if self.cut or self._chance.random() < self.loss:
                    continue
                at_s = now_s
                if self.bytes_per_s:
                    at_s = max(now_s, free_s[to]) + len(packet) / self.bytes_per_s
                    if at_s - now_s > _MAX_QUEUE_S:
                        continue
                    free_s[to] = at_s
                count += 1
                heapq.heappush(due, (at_s + self.delay_s, count, self._ends[to], packet))
            while due and due[0][0] <= time.monotonic():
                _, _, end, packet = heapq.heappop(due)
                os.write(end, packet)


def _tun(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
    return fd
