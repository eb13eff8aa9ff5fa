"""Live pictures for any number of browsers: each is encoded once, and sent to whoever waits for it.

    GET /camera/<id>/view?after=N waits for a picture newer than N:
        4 bytes, big-endian: length of the JSON │ JSON, UTF-8: what to draw, counts, its number │ JPEG

A browser that is slow, or was put away, asks later or not at all: nothing is queued for it. A tap is open only while
somebody asks, and for a few seconds after.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

from agent.vision.live import Shown, Tap, picture

_log = logging.getLogger(__name__)

MAX_WAITING = 24  # browsers, of all cameras together
_PICTURES_PER_S = 5.0
_SENT_PER_S = 30.0  # pictures to all browsers of a camera together: many are shown fewer each
_WAIT_S = 10.0
_LEASE_S = 4.0

Counts = Callable[[], Mapping[str, Mapping[str, int]]]


class TooMany(Exception):
    """As many look already as the box serves."""


class _Camera:
    """Used by the event loop's thread."""

    def __init__(self, tap: Tap, counts: Counts, executor: Executor) -> None:
        self._tap = tap
        self._counts = counts
        self._executor = executor
        self._number = 0
        self._body: bytes | None = None
        self._waiting: set[asyncio.Future[bytes]] = set()
        self._asked_s = 0.0
        self._making: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def next(self, after: int) -> bytes | None:
        loop = asyncio.get_running_loop()
        self._asked_s = loop.time()
        if self._making is None or self._making.done():
            self._making = loop.create_task(self._make())
        if self._body is not None and self._number != after:
            return self._body
        waiting: asyncio.Future[bytes] = loop.create_future()
        self._waiting.add(waiting)
        try:
            return await asyncio.wait_for(waiting, _WAIT_S)
        except TimeoutError:
            return None
        finally:
            self._waiting.discard(waiting)
            self._asked_s = loop.time()

    async def stop(self) -> None:
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)

    async def _make(self) -> None:
        loop = asyncio.get_running_loop()
        arrived = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(arrived.set)

        self._tap.open(wake)
        try:
            while self._waiting or loop.time() - self._asked_s < _LEASE_S:
                arrived.clear()
                shown = self._tap.take()
                if shown is None:
                    await _within(arrived, 1.0)
                    continue
                began_s = loop.time()
                self._body = await loop.run_in_executor(self._executor, self._encode, shown, self._number + 1)
                self._number += 1
                watchers = len(self._waiting)
                for waiting in self._waiting:
                    if not waiting.done():
                        waiting.set_result(self._body)
                interval_s = max(1 / _PICTURES_PER_S, watchers / _SENT_PER_S)
                await asyncio.sleep(max(interval_s - (loop.time() - began_s), 0.0))
        except Exception:  # whoever asks next begins anew
            _log.exception("page: bug in a live picture")
        finally:
            self._tap.close()
            self._body = None

    def _encode(self, shown: Shown, number: int) -> bytes:
        figures, jpeg = picture(shown)
        head = json.dumps({"n": number, **figures, "counts": self._counts()}, separators=(",", ":")).encode()
        return len(head).to_bytes(4, "big") + head + jpeg


async def _within(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


class Live:
    """All cameras of the box. taps, counts: by the camera's id."""

    def __init__(self, taps: Mapping[str, Tap], counts: Callable[[str], Any], executor: Executor) -> None:
        self._cameras = {name: _Camera(tap, functools.partial(counts, name), executor) for name, tap in taps.items()}

    @property
    def watchers(self) -> int:
        return sum(camera.waiting for camera in self._cameras.values())

    async def next(self, camera_id: str, after: int) -> bytes | None:
        """The newest picture that is not number `after`; None if none came in ten seconds. Raises TooMany; KeyError
        for a camera there is not."""
        camera = self._cameras[camera_id]
        if self.watchers >= MAX_WAITING:
            raise TooMany
        return await camera.next(after)

    async def stop(self) -> None:
        for camera in self._cameras.values():
            await camera.stop()
