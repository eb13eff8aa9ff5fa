"""`ping`: the box is there, and this is how much waits in it."""

from __future__ import annotations

import time
from typing import Any

from agent.commands.desk import AtOnce
from agent.commands.request import Request
from agent.contract.event import Stream
from agent.outbox import Outbox


def ping(outbox: Outbox, *, version: str, config_version: str) -> AtOnce:
    started_s = time.monotonic()

    def answer(request: Request) -> dict[str, Any]:
        depth = outbox.depth()
        return {
            "agent": version,
            "config": config_version,
            "uptime_s": round(time.monotonic() - started_s, 1),
            "epoch": depth.epoch,
            "last": depth.last,
            "rows": depth.rows,
            "streams": {stream.value: depth.streams[stream].rows for stream in Stream},
        }

    return AtOnce(answer)
