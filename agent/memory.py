"""Small files beside the outbox that outlive the agent: what a camera usually shows, and which tracks it has numbered.

Written rarely, and whole or not at all. A disk that cannot be read or written costs the memory, with a line in the
log, and never the camera.
"""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

from agent.durable import Memo

_log = logging.getLogger(__name__)

_ERA_TRACKS = 100_000  # a busy camera's day
_ERAS = 42_000  # every number below 2**32, which is 5 bytes in CBOR; at a start every 10 s, five days' worth
_ASK_AHEAD_TRACKS = 50_000


class CameraMemory:
    """What one camera remembers. Used by one thread."""

    def __init__(self, folder: Path, camera_id: str) -> None:
        self._view = Memo(folder / f"{camera_id}.view")
        self._tracks = Memo(folder / f"{camera_id}.tracks")
        self._last_track = 0
        self._ask_at_track = 0

    def view(self) -> bytes | None:
        """What `keep_view` kept, if it can be read."""
        try:
            return self._view.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            _log.warning("%s: cannot be read, and is learned anew: %s", self._view.path, exc.strerror)
            return None

    def keep_view(self, memory: bytes) -> None:
        self._view.write(memory)

    def first_track(self) -> int:
        """A number for the first track of this run, above which a day's worth has never been used.

        The file holds the era that was begun last, an era being a block of numbers. A run begins the one after the
        next: the last may have run over the end of its own while the disk could not be written.
        """
        era = self._last_era()
        era = secrets.randbelow(_ERAS) if era is None else (era + 2) % _ERAS
        if not self._write_era(era):
            # Without a promise on disk the next run may be told the same: all but surely not by lot, 1 in 42,000.
            era = secrets.randbelow(_ERAS)
        self._begin(era)
        return era * _ERA_TRACKS + 1

    def reached_track(self, number: int) -> None:
        """Tracks have been numbered up to here: promise the next era before this one is used up."""
        if number >= self._ask_at_track:
            era = self._last_track // _ERA_TRACKS  # the one that begins behind the last number promised
            if self._write_era(era % _ERAS):
                self._begin(era)
            else:
                self._ask_at_track = number + 1000

    def _begin(self, era: int) -> None:
        self._last_track = (era + 1) * _ERA_TRACKS
        self._ask_at_track = self._last_track - _ASK_AHEAD_TRACKS

    def _last_era(self) -> int | None:
        try:
            era = int(self._tracks.path.read_text(encoding="ascii"))
            if 0 <= era < _ERAS:
                return era
            _log.warning("%s: holds %d, wanted 0 to %d; drawing lots", self._tracks.path, era, _ERAS - 1)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as exc:
            _log.warning("%s: cannot be read; drawing lots: %s", self._tracks.path, exc)
        return None

    def _write_era(self, era: int) -> bool:
        return self._tracks.write(f"{era}\n".encode("ascii"))
