"""A camera's worth of alerts with pictures in a process of its own, to be killed: real store, real outbox, no link.

    python -m tests.support.testimony FOLDER

Stores a picture, puts the alert that names it, writes its id to stdout, and so on until it is killed.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from typing import Literal

from agent.clock import SystemClock
from agent.contract.event import Alert, Event, Evidence, Stream
from agent.evidence import EvidenceStore
from agent.outbox import Outbox
from tests.support.pictures import jpeg


class WrongWay(Alert):
    """An alert as a rule would make it."""

    kind: Literal["wrong-way"] = "wrong-way"
    track: int


def alert(track: int, evidence: Evidence | None) -> Event:
    body = WrongWay(rule="one-way", severity="warning", track=track, evidence=evidence)
    return Event(Stream.ALERT, "north", body, SystemClock().stamp())


def main(folder: str) -> None:
    store = EvidenceStore(Path(folder) / "evidence", max_bytes=2_000_000, max_days=1.0, send=True)
    outbox = Outbox(Path(folder) / "outbox.db")
    for track in itertools.count(1):
        evidence = store.put(jpeg(track))
        assert evidence is not None
        outbox.put(alert(track, evidence))
        os.write(1, f"{evidence.id}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
