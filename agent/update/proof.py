"""Proof of health: what the agent writes while it works, and what the updater demands of it during a trial.

The pulse is a file below /run, written every few seconds by the agent's main loop. It says what health says, and beside
it what only an agent that works can know: that its detector looked at a picture, and which reports of the updater it
has stored in its outbox. One is made when the agent that is tried has come up, so it alone can tell that one.

Demanded is what worked before, of cameras, sensors and the broker; and of any agent that it runs, in the version that
is tried, detects if it has cameras, and stores.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.clock import Clock
from agent.update.places import Places

_log = logging.getLogger(__name__)

_EVERY_S = 3.0
_MAX_BYTES = 1 << 20
FRESH_S = 15.0
_SHARE_OF_FPS = 0.5  # a camera delivers as before if it gives at least so much of the pictures it gave


@dataclass(frozen=True, slots=True)
class Pulse:
    """mono_s, boot_id: when it was written. looked_ms: how long the detector's first look took; None: it has none.
    told: the last of the updater's reports that is stored. health: as on the wire."""

    boot_id: str
    mono_s: float
    pid: int
    agent: str
    looked_ms: float | None
    told: int
    health: Mapping[str, Any]


class Heart:
    """Writes the pulse, in the agent. Used by one thread.

    Only below a folder that systemd made for this process: an agent that a technician starts beside the service says
    nothing in its place. health: as on the wire, when asked.
    """

    def __init__(
        self,
        places: Places,
        health: Callable[[], Mapping[str, Any]],
        *,
        version: str,
        looked_ms: float | None,
        clock: Clock,
    ) -> None:
        self._path = places.pulse if "RUNTIME_DIRECTORY" in os.environ else None
        self._health = health
        self._version = version
        self._looked_ms = looked_ms
        self._clock = clock
        self._beaten_s = float("-inf")
        self._failing = False

    def update(self, told: int) -> None:
        """To be called every second or so; told: see Pulse."""
        now_s = self._clock.mono_s()
        if self._path is None or now_s - self._beaten_s < _EVERY_S:
            return
        self._beaten_s = now_s
        pulse = Pulse(self._clock.boot_id, now_s, os.getpid(), self._version, self._looked_ms, told, self._health())
        try:
            write_pulse(self._path, pulse)
        except OSError as exc:
            if not self._failing:
                _log.error("%s: cannot be written, so no update will be taken for healthy: %s", self._path, exc)
            self._failing = True
            return
        self._failing = False


def write_pulse(path: Path, pulse: Pulse) -> None:
    """Not durable, and need not be: below /run. Raises OSError."""
    fields = {name: getattr(pulse, name) for name in Pulse.__dataclass_fields__}
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(fields), encoding="utf-8")
    new.replace(path)


def read_pulse(path: Path, boot_id: str, now_s: float) -> Pulse | None:
    """None: there is none of this boot and of the last FRESH_S seconds."""
    try:
        # The folder belongs to the service's user: no link out of it, nothing that blocks, nothing without an end.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    with os.fdopen(fd, "rb") as file:
        data = file.read(_MAX_BYTES)
    try:
        pulse = Pulse(**json.loads(data))
        is_fresh = pulse.boot_id == boot_id and 0 <= now_s - pulse.mono_s <= FRESH_S
    except (ValueError, TypeError, RecursionError):
        return None
    is_one = isinstance(pulse.health, dict) and isinstance(pulse.pid, int) and isinstance(pulse.told, int)
    return pulse if is_fresh and is_one else None


def baseline(pulse: Pulse | None) -> dict[str, Any]:
    """What works now, as JSON, and in which process; of an agent that does not run, nothing."""
    if pulse is None:
        return {}
    health = pulse.health
    return {
        "pid": pulse.pid,
        "cameras": {
            name: _fps(camera) for name, camera in _tables(health, "cameras").items() if camera.get("state") == "open"
        },
        "sensors": [name for name, sensor in _tables(health, "sensors").items() if sensor.get("state") == "ok"],
        "link": _link(health) == "up",
    }


def is_new(pulse: Pulse, before: Mapping[str, Any], version: str | None) -> bool:
    """Whether it comes from what is tried. before: see baseline. version: which must run; None: any."""
    return pulse.pid != before.get("pid") and version in (None, pulse.agent)


def doubts(pulse: Pulse | None, before: Mapping[str, Any], *, version: str | None, report: int | None) -> list[str]:
    """What is missing for a proof; none: it is healthy. before, version: as for is_new.

    report: the number of the one that it must have told; None: it has not been made yet.
    """
    if pulse is None:
        return ["the agent gives no sign of life"]
    if pulse.pid == before.get("pid"):
        return ["the agent has not been started anew"]
    if version is not None and pulse.agent != version:
        return [f"agent {pulse.agent} runs, not {version}"]
    missing = []
    if report is None or pulse.told < report:
        missing.append("it has stored nothing in its outbox yet")
    cameras, sensors = _tables(pulse.health, "cameras"), _tables(pulse.health, "sensors")
    if cameras and pulse.looked_ms is None:
        missing.append("its detector has looked at nothing")
    for name, fps in before.get("cameras", {}).items():
        camera = cameras.get(name)
        if camera is None:
            continue  # a new configuration may do without it
        if camera.get("state") != "open":
            missing.append(f"camera {name} is {camera.get('state')}: {camera.get('error') or 'no picture yet'}")
        elif _fps(camera) < fps * _SHARE_OF_FPS:
            missing.append(f"camera {name} gives {camera.get('fps')} pictures a second; before it gave {fps}")
    missing += [
        f"sensor {name} is {sensors[name].get('state')}: {sensors[name].get('error') or ''}".rstrip(": ")
        for name in before.get("sensors", ())
        if name in sensors and sensors[name].get("state") != "ok"
    ]
    if before.get("link") and _link(pulse.health) != "up":
        missing.append("it is not connected to the broker; before it was")
    return missing


def _tables(health: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    found = health.get(name)
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, dict)}


def _fps(camera: Mapping[str, Any]) -> float:
    fps = camera.get("fps")
    return float(fps) if isinstance(fps, int | float) else 0.0


def _link(health: Mapping[str, Any]) -> str | None:
    link = health.get("link")
    return link.get("state") if isinstance(link, dict) else None
