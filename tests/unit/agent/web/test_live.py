"""Pictures for many browsers: made once, only while somebody looks."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from agent.clock import FakeClock
from agent.vision.live import Tap
from agent.vision.pipeline import Seen
from agent.web import live as live_module
from agent.web.live import Live, TooMany
from drivers.base import Frame
from tests.support.vision import motion_of, road, sighting

SEEN = Seen([], sighting({}, 0, 0.0), motion_of([]), True)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "_PICTURES_PER_S", 1e6)
    monkeypatch.setattr(live_module, "_SENT_PER_S", 1e6)
    monkeypatch.setattr(live_module, "_LEASE_S", 0.0)


def run(of: Callable[[Live, Tap], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        tap = Tap(FakeClock())
        with ThreadPoolExecutor(1) as executor:
            live = Live({"north": tap}, lambda camera: {}, executor)
            try:
                await asyncio.wait_for(of(live, tap), 20)
            finally:
                await live.stop()
        assert not tap.is_watched

    asyncio.run(whole())


def show(tap: Tap) -> None:
    """From another thread, as the camera's does."""
    thread = threading.Thread(target=tap.show, args=(Frame(road(), 0, 100.0), SEEN))
    thread.start()
    thread.join()


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0)


def number(body: bytes | None) -> int:
    assert body is not None
    return int(body[4:].partition(b'"n":')[2].partition(b",")[0])


def test_a_picture_is_encoded_once_for_all_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []
    picture = live_module.picture
    monkeypatch.setattr(live_module, "picture", lambda shown: encoded.append(1) or picture(shown))

    async def ten(live: Live, tap: Tap) -> None:
        asked = [asyncio.create_task(live.next("north", 0)) for _ in range(10)]
        await until(lambda: live.watchers == 10 and tap.is_watched)
        show(tap)
        bodies = await asyncio.gather(*asked)
        assert len({id(body) for body in bodies}) == 1
        assert encoded == [1]

    run(ten)


def test_who_has_the_newest_waits_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "_LEASE_S", 60.0)

    async def two(live: Live, tap: Tap) -> None:
        first = asyncio.create_task(live.next("north", 0))
        await until(lambda: tap.is_watched)
        show(tap)
        n = number(await first)
        assert number(await live.next("north", n + 7)) == n  # of an agent that was started anew: what there is
        second = asyncio.create_task(live.next("north", n))
        await until(lambda: live.watchers == 1)
        assert not second.done()
        show(tap)
        assert number(await second) == n + 1

    run(two)


def test_when_nobody_asks_any_more_the_tap_is_closed() -> None:
    async def leave(live: Live, tap: Tap) -> None:
        asked = asyncio.create_task(live.next("north", 0))
        await until(lambda: tap.is_watched)
        show(tap)
        await asked
        await until(lambda: not tap.is_watched)
        assert tap.take() is None

    run(leave)


def test_a_camera_that_gives_nothing_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "_WAIT_S", 0.01)

    async def nothing(live: Live, tap: Tap) -> None:
        assert await live.next("north", 0) is None

    run(nothing)


def test_more_than_the_box_serves_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MAX_WAITING", 3)

    async def crowd(live: Live, tap: Tap) -> None:
        asked = [asyncio.create_task(live.next("north", 0)) for _ in range(3)]
        await until(lambda: live.watchers == 3)
        with pytest.raises(TooMany):
            await live.next("north", 0)
        show(tap)
        await asyncio.gather(*asked)

    run(crowd)


def test_a_bug_in_a_picture_is_logged_and_the_next_is_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    picture = live_module.picture
    broken = [True]

    def breaks_once(shown: Any) -> Any:
        if broken.pop() if broken else False:
            raise RuntimeError("a bug")
        return picture(shown)

    monkeypatch.setattr(live_module, "picture", breaks_once)
    monkeypatch.setattr(live_module, "_WAIT_S", 0.2)

    async def again(live: Live, tap: Tap) -> None:
        asked = asyncio.create_task(live.next("north", 0))
        await until(lambda: tap.is_watched)
        show(tap)
        assert await asked is None
        asked = asyncio.create_task(live.next("north", 0))
        await until(lambda: tap.is_watched)
        show(tap)
        assert number(await asked) == 1

    run(again)
    assert "page: bug in a live picture" in caplog.text
