"""From a camera's configuration to its driver and its stages; for `run`, `check` and `replay` alike."""

from __future__ import annotations

import tomllib

import numpy as np

from agent.config import CameraConfig
from agent.errors import ConfigError
from agent.vision.pipeline import Pipeline, Rules
from agent.vision.rules.crossing import LineCrossing
from agent.vision.rules.zone import ZonePresence
from agent.vision.propose import VEHICLE
from drivers.base import CLASSES, Camera, Detector
from drivers.cameras import Credentials, make_camera


def make_driver(camera: CameraConfig, credentials: Credentials | None) -> Camera:
    return make_camera(
        camera.id,
        camera.source,
        width_px=camera.width_px,
        height_px=camera.height_px,
        fps=camera.fps,
        credentials=credentials,
        loop=camera.loop,
    )


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


def make_pipeline(camera: CameraConfig, detector: Detector, *, motion_gate: bool | None = None) -> Pipeline:
    return Pipeline(
        detector,
        lambda frame_wh_px: _rules(camera, frame_wh_px),
        motion_gate=camera.motion_gate if motion_gate is None else motion_gate,
        count_interval_s=camera.count_interval_s,
    )


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
    """What moves like a vehicle and was not recognised (VEHICLE) counts wherever cars do."""
    known = frozenset(CLASSES.index(name) for name in names)
    return known | {VEHICLE} if "car" in names else known
