"""A small agent in a process of its own, to be killed: real outbox, real uplink, events that number themselves.

    python -m tests.support.producer OUTBOX PORT FIRST LAST

Puts crossings with track FIRST to LAST from three threads, one stream each, and writes "<track>" to stdout after `put`
returned. After LAST it waits for the outbox to be empty, writes "drained", and stays until it is killed.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from tenacity import wait_fixed

from agent.clock import SystemClock
from agent.contract.event import Stream
from agent.outbox import Outbox
from agent.uplink import Broker, Uplink, UplinkSettings
from tests.support.events import crossing


def main(path: str, port: str, first: str, last: str) -> None:
    clock = SystemClock()
    outbox = Outbox(Path(path))
    settings = UplinkSettings("site", "box", (Broker("127.0.0.1", int(port)),), ack_timeout_s=3.0)
    uplink = Uplink(settings, outbox, wait=wait_fixed(0.05))
    uplink.start()

    def stage(stream: Stream, offset: int) -> None:
        for track in range(int(first) + offset, int(last) + 1, 3):
            outbox.put(crossing(track, stream, stamp=clock.stamp()))
            os.write(1, f"{track}\n".encode())

    stages = [threading.Thread(target=stage, args=(stream, offset)) for offset, stream in enumerate(Stream)]
    for thread in stages:
        thread.start()
    for thread in stages:
        thread.join()
    while not uplink.drain(60.0):
        pass
    os.write(1, b"drained\n")
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
