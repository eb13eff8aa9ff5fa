"""From a camera's configuration to its driver and its stages; for `run`, `check` and `replay` alike."""

from __future__ import annotations

import hashlib
import logging
import tomllib
from collections.abc import Callable

import numpy as np

from agent.config import CameraConfig
from agent.errors import ConfigError
from agent.vision.camera_health import CameraHealth
from agent.vision.masks import MaskedDetector, Polygon, PrivateCamera
from agent.vision.pipeline import Pipeline, Rules
from agent.vision.rules.crossing import LineCrossing
from agent.vision.rules.zone import ZonePresence
from drivers.base import CLASSES, Camera, Detector
from drivers.cameras import Credentials, make_camera

_log = logging.getLogger(__name__)


def make_driver(camera: CameraConfig, credentials: Credentials | None) -> Camera:
    inside = make_camera(
        camera.id,
        camera.source,
        width_px=camera.width_px,
        height_px=camera.height_px,
        fps=camera.fps,
        credentials=credentials,
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
    if path is None:
        return None
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"camera {camera.id}: credentials_file {path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f'camera {camera.id}: credentials_file {path}: wanted user = "…" and password = "…"') from exc
    user, password = data.get("user"), data.get("password")
    if not isinstance(user, str) or not isinstance(password, str) or len(data) != 2:
        raise ConfigError(f'camera {camera.id}: credentials_file {path}: wanted exactly user = "…" and password = "…"')
    return Credentials(user, password)


def make_pipeline(
    camera: CameraConfig,
    detector: Detector,
    *,
    new_alert: Callable[[], str],
    view: bytes | None = None,
    first_track: int = 1,
    motion_gate: bool | None = None,
) -> Pipeline:
    """view: what an earlier run of the agent remembered of this camera's health. Frames are to come from `private`."""
    still = _polygons(camera, "detection")
    return Pipeline(
        MaskedDetector(detector, still) if still else detector,
        lambda frame_wh_px: _rules(camera, frame_wh_px),
        motion_gate=camera.motion_gate if motion_gate is None else motion_gate,
        count_interval_s=camera.count_interval_s,
        health=_health(camera, new_alert, view) if camera.faults else None,
        still_polygons=still,
        first_track=first_track,
    )


def _health(camera: CameraConfig, new_alert: Callable[[], str], view: bytes | None) -> CameraHealth:
    # A technician who draws lines, zones or masks anew has looked at the picture: what was usual before is over.
    drawn = repr((camera.source, camera.line, camera.zone, camera.mask))
    health = CameraHealth(
        new_alert,
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


def _rules(camera: CameraConfig, frame_wh_px: tuple[int, int]) -> Rules:
    scale = np.asarray(frame_wh_px, np.float32)
    return Rules(
        lines=tuple(
            LineCrossing(
                line.id,
                np.asarray(line.a, np.float32) * scale,
                np.asarray(line.b, np.float32) * scale,
                anchor=line.anchor,
                class_ids=_class_ids(line.classes),
            )
            for line in camera.line
        ),
        zones=tuple(
            ZonePresence(
                zone.id,
                np.asarray(zone.polygon, np.float32) * scale,
                frame_wh_px=frame_wh_px,
                class_ids=_class_ids(zone.classes),
                dwell_s=zone.dwell_s,
            )
            for zone in camera.zone
        ),
    )


def _class_ids(names: tuple[str, ...]) -> frozenset[int]:
    return frozenset(CLASSES.index(name) for name in names)
