"""From a camera's configuration to its driver and its stages; for `run`, `check` and `replay` alike."""

from __future__ import annotations

import hashlib
import logging
import secrets
import tomllib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from agent.clock import Clock
from agent.config import (
    VEHICLES,
    CameraConfig,
    CongestionConfig,
    CrowdConfig,
    LeftBehindConfig,
    LoiteringConfig,
    RemovedConfig,
    RestrictedConfig,
    Rule,
    SpeedingConfig,
    StoppedConfig,
    WrongWayConfig,
)
from agent.contract.event import LeftBehind, Removed
from agent.errors import ConfigError
from agent.secret_file import warn_if_open
from agent.vision.budget import InferenceBudget
from agent.vision.camera_health import CameraHealth
from agent.vision.masks import Polygon, PrivateCamera
from agent.vision.pipeline import Pipeline
from agent.vision.propose import VEHICLE
from agent.vision.readers import ColourReader, Reader
from agent.vision.rulebook import Rules
from agent.vision.rules.base import AlertRule, Instrument
from agent.vision.rules.congestion import CongestionRule
from agent.vision.rules.crossing import LineCrossing
from agent.vision.rules.crowd import CrowdRule
from agent.vision.rules.left_behind import ThingRule, Things
from agent.vision.rules.loitering import LoiteringRule
from agent.vision.rules.policy import LocalTime, Policy, time_unknown
from agent.vision.rules.restricted import RestrictedRule
from agent.vision.rules.schedule import Schedule
from agent.vision.rules.speeding import SpeedingRule
from agent.vision.rules.stopped import StoppedRule
from agent.vision.rules.wrong_way import WrongWayRule
from agent.vision.rules.zone import ZonePresence
from agent.vision.speed import GroundPlane, Speedometer
from drivers.base import CLASSES, Camera, Detector
from drivers.cameras import Credentials, make_camera

_log = logging.getLogger(__name__)
_READERS: dict[str, Callable[[], Reader]] = {"colour": ColourReader}


def make_driver(camera: CameraConfig, credentials: Credentials | None) -> Camera:
    inside = make_camera(
        camera.id,
        camera.source,
        width_px=camera.width_px,
        height_px=camera.height_px,
        fps=camera.fps,
        credentials=credentials,
        hardware_decode=camera.hardware_decode,
        loop=camera.loop,
    )
    return private(camera, inside)


def private(camera: CameraConfig, inside: Camera) -> Camera:
    """The camera with its privacy masks: whatever reads it never gets what is behind them."""
    privacy = _polygons(camera, "privacy")
    return PrivateCamera(inside, privacy) if privacy else inside


def read_credentials(camera: CameraConfig) -> Credentials | None:
    """Raises ConfigError naming the file; what is in it is never part of a message."""
    path = camera.credentials_file
    return None if path is None else credentials_in(path, f"camera {camera.id}: credentials_file {path}")


def credentials_in(path: Path, name: str) -> Credentials:
    """name: what to call the file in errors. Raises ConfigError as read_credentials does."""
    try:
        warn_if_open(path)
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{name}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f'{name}: wanted user = "…" and password = "…"') from exc
    user, password = data.get("user"), data.get("password")
    if not isinstance(user, str) or not isinstance(password, str) or len(data) != 2:
        raise ConfigError(f'{name}: wanted exactly user = "…" and password = "…"')
    return Credentials(user, password)


def local_time(clock: Clock, timezone: str) -> LocalTime:
    """The time of day at a moment of the monotonic clock; None as long as the wall clock cannot be believed."""

    def at(mono_s: float) -> datetime | None:
        stamp = clock.stamp()
        if not stamp.trusted:
            return None
        # The zone is looked up here, and the configuration has seen that it exists: without a schedule nobody asks.
        return datetime.fromtimestamp(stamp.wall_ms / 1000 - (clock.mono_s() - mono_s), ZoneInfo(timezone))

    return at


def make_pipeline(
    camera: CameraConfig,
    detector: Detector,
    *,
    motion_gate: bool | None = None,
    local_time: LocalTime = time_unknown,
    new_id: Callable[[], str] = lambda: secrets.token_hex(4),
    view: bytes | None = None,
    first_track: int = 1,
    budget: InferenceBudget | None = None,
) -> Pipeline:
    """local_time: for schedules, which apply always while it says None. new_id: names states that are raised.

    view: what an earlier run of the agent remembered of this camera's health. Frames are to come from `make_driver`,
    which blackens what is private. budget: shared by all cameras; None: as many inferences as are wanted.
    """
    return Pipeline(
        detector,
        lambda frame_wh_px: _Maker(camera, frame_wh_px, local_time, new_id).rules(),
        motion_gate=camera.motion_gate if motion_gate is None else motion_gate,
        count_interval_s=camera.count_interval_s,
        readers=[_READERS[name]() for name in camera.readers],
        health=_health(camera, new_id, view) if camera.faults else None,
        still_polygons=_polygons(camera, "detection"),
        regions=camera.regions,
        budget=budget,
        camera_id=camera.id,
        first_track=first_track,
    )


def _health(camera: CameraConfig, new_id: Callable[[], str], view: bytes | None) -> CameraHealth:
    # A technician who draws lines, zones or masks anew has looked at the picture: what was usual before is over.
    drawn = repr((camera.source, camera.line, camera.zone, camera.mask))
    health = CameraHealth(
        new_id,
        watched=camera.faults,
        privacy=_polygons(camera, "privacy"),
        fingerprint=hashlib.sha256(drawn.encode()).hexdigest()[:16],
    )
    if view is not None:
        try:
            health.recall(view)
        except ValueError as exc:
            _log.warning("camera %s: what it usually shows is learned anew, the file is damaged: %s", camera.id, exc)
    return health


def _polygons(camera: CameraConfig, kind: str) -> tuple[Polygon, ...]:
    return tuple(mask.polygon for mask in camera.mask if mask.kind == kind)


def wants_evidence(camera: CameraConfig) -> bool:
    """Whether a rule of this camera asks for pictures: where none does, none are kept in mind."""
    return any(rule.enabled and rule.evidence for rule in camera.rule)


class _Maker:
    """Makes the rules of one camera for one size of its picture; lines, zones and instruments are shared by rules."""

    def __init__(
        self,
        camera: CameraConfig,
        frame_wh_px: tuple[int, int],
        local_time: LocalTime,
        new_id: Callable[[], str],
    ) -> None:
        self._camera = camera
        self._frame_wh_px = frame_wh_px
        self._local_time = local_time
        self._new_id = new_id
        self._speeds = Speedometer(frame_wh_px, self._ground())
        self._things = Things(frame_wh_px)
        self._lines = {
            line.id: LineCrossing(
                line.id,
                self._px(line.a),
                self._px(line.b),
                anchor=line.anchor,
                class_ids=_class_ids(line.classes),
                speeds=self._speeds if camera.calibration else None,
            )
            for line in camera.line
        }
        self._zones = {
            zone.id: ZonePresence(
                zone.id,
                self._px(zone.polygon),
                frame_wh_px=frame_wh_px,
                class_ids=_class_ids(zone.classes),
                dwell_s=zone.dwell_s,
            )
            for zone in camera.zone
        }

    def rules(self) -> Rules:
        rules = [rule for rule in self._camera.rule if rule.enabled]
        instruments: list[Instrument] = []
        if self._camera.calibration or any(isinstance(rule, CongestionConfig) for rule in rules):
            instruments.append(self._speeds)
        if any(isinstance(rule, LeftBehindConfig | RemovedConfig) for rule in rules):
            instruments.append(self._things)
        return Rules(
            lines=tuple(self._lines.values()),
            zones=tuple(self._zones.values()),
            alerts=tuple(self._policy(rule) for rule in rules),
            instruments=tuple(instruments),
        )

    def _policy(self, rule: Rule) -> Policy:
        return Policy(
            rule.id,
            self._alert_rule(rule),
            severity=rule.severity,
            hold_off_s=rule.hold_off_s,
            evidence=rule.evidence,
            class_ids=_class_ids(getattr(rule, "classes", ())),
            schedule=Schedule(rule.schedule) if rule.schedule else None,
            local_time=self._local_time,
            new_id=self._new_id,
        )

    def _alert_rule(self, rule: Rule) -> AlertRule:
        match rule:
            case WrongWayConfig():
                return WrongWayRule(self._lines[rule.line], rule.allowed)
            case RestrictedConfig():
                return RestrictedRule(self._zones[rule.zone])
            case LoiteringConfig():
                return LoiteringRule(self._zones[rule.zone], rule.after_s)
            case StoppedConfig():
                return StoppedRule(self._zones[rule.zone], rule.after_s)
            case SpeedingConfig():
                where = self._lines[rule.line] if rule.line is not None else self._zones[rule.zone or ""]
                return SpeedingRule(where, self._speeds, rule.limit_kmh)
            case CongestionConfig():
                return CongestionRule(
                    self._zones[rule.zone],
                    self._speeds,
                    vehicles=rule.vehicles,
                    below_kmh=rule.below_kmh,
                    below_lengths_per_s=rule.below_lengths_per_s,
                    after_s=rule.after_s,
                    class_ids=_class_ids(rule.classes),
                )
            case CrowdConfig():
                return CrowdRule(self._zones[rule.zone], rule.more_than, rule.after_s, _class_ids(rule.classes))
            case LeftBehindConfig() | RemovedConfig():
                return self._thing_rule(rule)

    def _thing_rule(self, rule: LeftBehindConfig | RemovedConfig) -> ThingRule:
        (polygon,) = (zone.polygon for zone in self._camera.zone if zone.id == rule.zone)
        return ThingRule(
            LeftBehind if isinstance(rule, LeftBehindConfig) else Removed,
            rule.zone,
            self._px(polygon),
            self._things,
            frame_wh_px=self._frame_wh_px,
            after_s=rule.after_s,
        )

    def _ground(self) -> GroundPlane | None:
        known = self._camera.calibration
        if known is None:
            return None
        return GroundPlane(self._px(known.points), known.metres, tolerance_m=known.tolerance_m)

    def _px(self, fractions: object) -> npt.NDArray[np.float32]:
        return np.asarray(fractions, np.float32) * np.asarray(self._frame_wh_px, np.float32)


def _class_ids(names: tuple[str, ...]) -> frozenset[int]:
    """The detector's classes that these words of the configuration mean, and VEHICLE, what drove there unrecognised.

    That one is most likely a car, for cars outnumber the others by far: it counts wherever cars do. Where only lorries
    or motorcycles are meant it does not: a rule against lorries must not be told of every car in the rain.
    """
    named = {*names, *(VEHICLES if "vehicle" in names else ())}
    known = frozenset(CLASSES.index(name) for name in named - {"vehicle"})
    return known | {VEHICLE} if "car" in named else known
