"""`evidence`: the picture of an alert. `snapshot`: a picture of now, with everybody in it pixelated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from agent.commands.desk import AtOnce
from agent.commands.request import Request
from agent.contract.command import EvidenceArgs, SnapshotArgs
from agent.contract.event import Evidence
from agent.errors import CommandFailed, CommandRefused

_FRAME_WITHIN_S = 10.0

TakePicture = Callable[[float], npt.NDArray[np.uint8] | None]
"""(timeout_s) → uint8 (h, w, 3), everybody in it pixelated; None: no picture came in time."""


class Pictures(Protocol):
    """What is needed of the store of pictures."""

    max_days: float

    def request(self, evidence_id: str) -> int | None: ...
    def put_picture(self, picture_bgr: npt.NDArray[np.uint8]) -> Evidence | None: ...


def evidence(pictures: Pictures) -> AtOnce:
    def send(request: Request) -> dict[str, Any]:
        assert isinstance(request.args, EvidenceArgs)
        wanted = request.args.evidence
        size_bytes = pictures.request(wanted)
        if size_bytes is None:
            raise CommandRefused(
                f"no picture {wanted!r} here (any more): kept for {pictures.max_days:g} days, fewer where they are many"
            )
        return {"evidence": wanted, "bytes": size_bytes}

    return AtOnce(send)


def snapshot(cameras: Mapping[str, TakePicture], pictures: Pictures) -> AtOnce:
    """cameras: by id."""

    def take(request: Request) -> dict[str, Any]:
        assert isinstance(request.args, SnapshotArgs)
        camera = request.args.camera
        if camera not in cameras:
            raise CommandRefused(f"no camera {camera!r}; there is: {', '.join(cameras) or 'none'}")
        picture = cameras[camera](_FRAME_WITHIN_S)
        if picture is None:
            raise CommandFailed(f"camera {camera} gave no picture within {_FRAME_WITHIN_S:g} s; see its health")
        stored = pictures.put_picture(picture)
        if stored is None:
            raise CommandFailed("the disk does not take the picture; is it full?")
        pictures.request(stored.id)
        return {"evidence": stored.id, "bytes": stored.bytes, "sha256": stored.sha256}

    return AtOnce(take)
