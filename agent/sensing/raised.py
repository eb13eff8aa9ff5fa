"""Which alerts of sensors are raised, in a small file that outlives the agent.

So that an alert which was raised before a restart is cleared after it under its own id, and not raised a second time.
The file is written after an alert is on its way (stored in the outbox), whole or not at all. A disk that cannot be read
or written costs this memory, with a line in the log, and no sensor.
"""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.clock import Clock, Stamp
from agent.contract.event import Body, SensorAlert
from agent.contract.wire import PayloadError, body_json, read_body
from agent.durable import Memo

_log = logging.getLogger(__name__)

_MOST = 1000  # more than a box has limits and sensors; a file that says more is not ours


@dataclass(frozen=True, slots=True)
class Raised:
    """One alert that is raised. since: when it was, by the clocks of the boot it happened in."""

    sensor_id: str
    body: SensorAlert
    since: Stamp
    boot_id: str

    def lasted_s(self, now: Stamp, boot_id: str) -> float:
        """Until now. 0 if it was in another boot, and one of the two did not know the time."""
        if self.boot_id == boot_id:
            return max(now.mono_ms - self.since.mono_ms, 0) / 1000
        return max(now.wall_ms - self.since.wall_ms, 0) / 1000 if now.trusted and self.since.trusted else 0.0


class RaisedAlerts:
    """Any number of threads may use it. path None: remembers nothing."""

    def __init__(self, path: Path | None, *, clock: Clock) -> None:
        self._memo = Memo(path) if path is not None else None
        self._clock = clock
        self._lock = threading.Lock()
        self._raised = {raised.body.alert: raised for raised in self._read()}

    def remembered(self) -> list[Raised]:
        with self._lock:
            return list(self._raised.values())

    def heard(self, sensor_id: str, body: Body, stamp: Stamp) -> None:
        """Called after what was said is stored."""
        if not isinstance(body, SensorAlert):
            return
        with self._lock:
            if body.state == "raised":
                self._raised[body.alert] = Raised(sensor_id, body, stamp, self._clock.boot_id)
            elif self._raised.pop(body.alert, None) is None:
                return
            self._write()

    def _read(self) -> list[Raised]:
        if self._memo is None:
            return []
        try:
            entries = json.loads(self._memo.path.read_text(encoding="utf-8"))
            return [_raised(entry) for entry in entries[:_MOST]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError) as exc:  # PayloadError is a ValueError
            _log.warning("%s: cannot be read; what was raised before is not cleared any more: %s", self._memo.path, exc)
            return []

    def _write(self) -> None:
        if self._memo is None:
            return
        entries = [
            {"sensor": r.sensor_id, "body": body_json(r.body), "since": asdict(r.since), "boot_id": r.boot_id}
            for r in self._raised.values()
        ]
        self._memo.write(json.dumps(entries, ensure_ascii=False).encode())


def _raised(entry: dict[str, object]) -> Raised:
    body, since = read_body(str(entry["body"])), entry["since"]
    if not isinstance(body, SensorAlert) or not isinstance(since, dict):
        raise PayloadError(f"{entry!r} is no alert of a sensor")
    stamp = Stamp(int(since["wall_ms"]), int(since["mono_ms"]), bool(since["trusted"]))
    return Raised(str(entry["sensor"]), body, stamp, str(entry["boot_id"]))
