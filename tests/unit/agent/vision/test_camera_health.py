"""Each fault on a drawn scene, and what must not be taken for one. Real recordings: tests/bench/camera_health.py."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from functools import cache

import cv2
import numpy as np
import pytest

from agent.contract.event import CameraFault
from agent.vision.camera_health import FAULTS, CameraHealth
from drivers.base import Frame
from tests.support.vision import Picture, noisy

WIDE, HIGH = 320, 180
LOOK_S = 0.5
Change = Callable[[Picture, float], Picture]  # picture, seconds since it began


@cache
def scene(seed: int = 1) -> Picture:
    """Something with edges everywhere, as a street has: 90 rectangles of random greys."""
    random = np.random.default_rng(seed)
    picture = np.full((HIGH, WIDE, 3), 120, np.uint8)
    for _ in range(90):
        x, y, w, h = (int(v) for v in random.integers([0, 0, 10, 8], [WIDE, HIGH, 60, 40]))
        grey = int(random.integers(40, 210))
        cv2.rectangle(picture, (x, y), (x + w, y + h), (grey, grey, grey), -1)
    return picture


def health(**options: object) -> CameraHealth:
    numbers = itertools.count(1)
    return CameraHealth(lambda: f"a{next(numbers)}", **options)  # type: ignore[arg-type]


class Player:
    """Shows pictures two a second and keeps what was said, as (fault, state, seconds)."""

    def __init__(self, watch: CameraHealth) -> None:
        self.watch = watch
        self.looks = 0
        self.began = 0
        self.bodies: list[CameraFault] = []
        self.said: list[tuple[str, str, float]] = []
        self.goes_on: list[bool] = []

    def show(
        self, picture: Picture, change: Change | None, seconds: float, *, noise: bool = True, every_s: float = LOOK_S
    ) -> None:
        """The picture, changed, under a noise of its own at every look."""
        self.began = self.looks
        for n in range(round(seconds / every_s)):
            self.looks = self.began + round(n * every_s / LOOK_S)
            since_s = (self.looks - self.began) * LOOK_S
            shown = change(picture, since_s) if change else picture
            self.look(noisy(shown, self.looks) if noise else shown)

    def look(self, picture: Picture, *, later_s: float = 0.0) -> None:
        self.looks += round(later_s / LOOK_S)
        for happening in self.watch.update(Frame(picture, self.looks, self.looks * LOOK_S)):
            assert isinstance(happening.body, CameraFault)
            self.bodies.append(happening.body)
            self.said.append((happening.body.fault, happening.body.state, (self.looks - self.began) * LOOK_S))
        self.looks += 1

    def raised(self) -> list[str]:
        return [fault for fault, state, _ in self.said if state == "raised"]


@cache
def _learned(seed: int, mean: float) -> Player:
    player = Player(health())
    player.show(gain(mean)(scene(seed), 0.0), None, 80.0)
    assert player.said == []
    return player


def learned(seed: int = 1, *, brightness: float = 1.0) -> Player:
    """A camera that has been watched for 80 s."""
    return copy.deepcopy(_learned(seed, brightness))


def gain(factor: float) -> Change:
    return lambda picture, _: np.clip(picture.astype(np.float32) * factor, 0, 255).astype(np.uint8)


def moved(right_px: float = 0.0, down_px: float = 0.0, turn_deg: float = 0.0, zoom: float = 1.0) -> Change:
    def change(picture: Picture, _: float) -> Picture:
        matrix = cv2.getRotationMatrix2D((WIDE / 2, HIGH / 2), turn_deg, zoom)
        matrix[:, 2] += (right_px, down_px)
        return np.asarray(cv2.warpAffine(picture, matrix, (WIDE, HIGH), borderMode=cv2.BORDER_REFLECT), np.uint8)

    return change


def covered(grey: int) -> Change:
    return lambda picture, _: np.full_like(picture, grey)


def blotches(picture: Picture, _: float) -> Picture:
    """Paint over some 60 %."""
    random, paint = np.random.default_rng(7), np.zeros((HIGH, WIDE), np.float32)
    while (paint > 0.5).mean() < 0.6:
        x, y = (int(v) for v in random.integers([0, 0], [WIDE, HIGH]))
        cv2.circle(paint, (x, y), int(random.integers(20, 45)), 1.0, -1)
    soft = cv2.GaussianBlur(paint, (0, 0), 4)[..., None]
    return np.asarray(picture * (1 - soft) + 35 * soft, np.uint8)


def lorry(stands_s: float) -> Change:
    """Comes in from the right in 3 s, braking; a ribbed side over nearly everything; stands; leaves as it came."""

    def change(picture: Picture, since_s: float) -> Picture:
        done = min(since_s / 3.0, 1.0)
        left = 0.04 + 0.96 * (1 - done) ** 2 - max((since_s - 3.0 - stands_s) / 2.0, 0.0) * 1.5
        drawn, x = picture.copy(), int(left * WIDE)
        cv2.rectangle(drawn, (x, 5), (x + WIDE, HIGH - 8), (150, 150, 150), -1)
        for rib in range(x, x + WIDE, 22):
            cv2.rectangle(drawn, (rib, 5), (rib + 5, HIGH - 8), (100, 100, 100), -1)
        return drawn

    return change


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        pytest.param(gain(0.02), "dark", id="dark"),
        pytest.param(gain(8.0), "overexposed", id="overexposed"),
        pytest.param(lambda p, _: cv2.GaussianBlur(p, (0, 0), 2.0), "blurred", id="defocused"),
        pytest.param(covered(150), "covered", id="a hand"),
        pytest.param(covered(28), "covered", id="a dark cloth"),
        pytest.param(blotches, "covered", id="sprayed"),
        pytest.param(moved(16), "moved", id="5 % to the right"),
        pytest.param(moved(-48), "moved", id="15 % to the left"),
        pytest.param(moved(0, 20), "moved", id="down"),
        pytest.param(moved(turn_deg=6), "moved", id="turned"),
        pytest.param(moved(zoom=1.2), "moved", id="zoomed in"),
        pytest.param(moved(zoom=0.85), "moved", id="zoomed out"),
        pytest.param(lambda p, _: scene(2), "moved", id="turned away to another scene"),
    ],
)
def test_a_fault_is_told_within_ten_seconds_and_cleared_when_it_is_over(change: Change, fault: str) -> None:
    player = learned()
    player.show(scene(), change, 20.0)
    assert [(f, state) for f, state, _ in player.said] == [(fault, "raised")]
    assert 0 < player.said[0][2] <= 10.0
    assert player.watch.faults() == (fault,)
    player.show(scene(), None, 20.0)
    assert [(f, state) for f, state, _ in player.said] == [(fault, "raised"), (fault, "cleared")]
    raised, cleared = player.bodies
    assert raised.alert == cleared.alert
    assert raised.lasted_s is None
    assert cleared.lasted_s == pytest.approx(20.0, abs=15.0)
    assert player.watch.faults() == ()


def test_a_frozen_picture_is_told_and_over_with_the_first_that_differs() -> None:
    player = learned()
    player.show(noisy(scene(), 3), None, 15.0, noise=False)
    assert player.raised() == ["frozen"]
    assert 8.0 <= player.said[0][2] <= 10.0
    player.show(scene(), None, 1.0)
    assert player.said[1][:2] == ("frozen", "cleared")


def test_a_clock_drawn_into_a_frozen_picture_does_not_hide_it() -> None:
    def clock(picture: Picture, since_s: float) -> Picture:
        drawn = picture.copy()
        cv2.putText(drawn, f"{since_s:04.1f}", (4, 8), cv2.FONT_HERSHEY_PLAIN, 0.7, (255, 255, 255))
        return drawn

    player = learned()
    player.show(noisy(scene(), 3), clock, 12.0, noise=False)
    assert player.raised() == ["frozen"]


def test_a_camera_whose_pictures_never_have_noise_is_not_called_frozen() -> None:
    player = Player(health())
    player.show(scene(), None, 300.0, noise=False)
    assert player.said == []


def test_stillness_that_passed_by_itself_is_waited_for_three_times() -> None:
    player = learned()
    player.show(noisy(scene(), 3), None, 7.0, noise=False)
    player.show(scene(), None, 60.0)
    player.show(noisy(scene(), 4), None, 19.0, noise=False)
    assert player.said == []
    player.show(noisy(scene(), 4), None, 4.0, noise=False)
    assert player.raised() == ["frozen"]


def rain(picture: Picture, since_s: float) -> Picture:
    random, drawn = np.random.default_rng(int(since_s * 10)), picture.copy()
    for x, y in random.integers([0, 0], [WIDE, HIGH], (120, 2)):
        cv2.line(drawn, (int(x), int(y)), (int(x) - 3, int(y) + 15), (200, 200, 200), 1, cv2.LINE_AA)
    return np.asarray(cv2.addWeighted(drawn, 0.6, picture, 0.4, 0), np.uint8)


def headlights(picture: Picture, since_s: float) -> Picture:
    y, x = np.mgrid[0:HIGH, 0:WIDE] / WIDE
    done = since_s % 6.0 / 6.0
    light = np.exp(-((x - done) ** 2 + (y - 0.2 - 0.2 * done) ** 2) / (0.003 + 0.04 * done))
    return np.clip(picture * 0.3 + 400.0 * light[..., None], 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("change", "seconds"),
    [
        pytest.param(lambda p, s: gain(0.12 ** np.sin(np.pi * s / 300) ** 2)(p, s), 300.0, id="dusk and dawn"),
        pytest.param(lambda p, s: gain(2.0 ** np.sin(2 * np.pi * s / 7))(p, s), 90.0, id="exposure hunting"),
        pytest.param(rain, 90.0, id="rain"),
        pytest.param(headlights, 90.0, id="headlights"),
        pytest.param(lorry(0.0), 8.0, id="a lorry passes"),
        pytest.param(lorry(40.0), 48.0, id="a lorry stands 40 s"),
        pytest.param(lambda p, s: gain(0.02 if s % 30 < 4 else 1.0)(p, s), 90.0, id="lamps that fail for 4 s"),
        pytest.param(lambda p, s: gain(8.0 if s % 30 < 4 else 1.0)(p, s), 90.0, id="lightning"),
        pytest.param(lambda p, s: moved(1.5 * np.sin(s), np.cos(2 * s))(p, s), 90.0, id="a pole in the wind"),
    ],
)
def test_what_is_harmless_is_not_told(change: Change, seconds: float) -> None:
    player = learned()
    player.show(scene(), change, seconds)
    player.show(scene(), None, 20.0)
    assert player.said == []


def test_a_dim_night_with_one_lamp_is_not_dark() -> None:
    night = gain(0.03)(scene(), 0.0)
    cv2.circle(night, (250, 40), 8, (220, 220, 220), -1)
    player = Player(health())
    player.show(night, None, 120.0)
    assert player.said == []


def test_the_time_that_is_written_into_a_black_picture_does_not_light_it() -> None:
    def written(picture: Picture, _: float) -> Picture:
        drawn = gain(0.02)(picture, 0.0)
        cv2.putText(drawn, "cua-bac 2025-11-24", (4, 10), cv2.FONT_HERSHEY_PLAIN, 0.8, (255, 255, 255))
        return drawn

    player = learned()
    player.show(scene(), written, 10.0)
    assert player.raised() == ["dark"]


def test_passing_headlights_do_not_end_the_dark() -> None:
    player = learned()
    player.show(scene(), gain(0.02), 10.0)
    player.show(scene(), lambda p, s: headlights(gain(0.02)(p, s), s), 6.0)
    player.show(scene(), gain(0.02), 20.0)
    assert player.said == [("dark", "raised", 5.0)]


def test_a_night_is_learned_beside_the_day_and_the_day_is_not_forgotten() -> None:
    dusk: Change = lambda p, s: gain(0.12 ** min(s / 120, 1.0))(p, s)  # noqa: E731
    player = learned()
    player.show(scene(), dusk, 300.0)
    assert player.said == []
    player.show(gain(0.12)(scene(), 0.0), moved(30), 15.0)
    assert player.raised() == ["moved"]
    player.show(gain(0.12)(scene(), 0.0), None, 15.0)
    player.show(scene(), lambda p, s: gain(0.12 ** max(1 - s / 120, 0.0))(p, s), 200.0)
    player.show(scene(), moved(30), 15.0)
    assert player.raised() == ["moved", "moved"]


def test_a_camera_switched_between_two_scenes_is_learned_as_two() -> None:
    player = Player(health())
    player.show(scene(), lambda p, s: p if s % 40 < 20 else scene(2), 280.0)
    assert player.said == []


def test_a_moved_camera_stays_moved_until_the_old_view_is_back() -> None:
    player = learned()
    player.show(scene(), moved(30), 900.0, every_s=2.0)
    assert player.raised() == ["moved"]
    assert player.watch.faults() == ("moved",)


def test_nothing_of_the_scene_is_told_before_it_is_known() -> None:
    player = Player(health())
    player.show(scene(), None, 30.0)
    player.show(scene(2), None, 20.0)
    assert player.said == []


def test_only_faults_that_are_watched_are_told() -> None:
    player = Player(health(watched=("moved",)))
    player.show(scene(), None, 80.0)
    player.show(scene(), gain(0.02), 20.0)
    assert player.said == []


def test_silence_of_the_camera_proves_nothing() -> None:
    player = learned()
    player.show(scene(), gain(0.02), 3.0)
    player.look(gain(0.02)(scene(), 0.0), later_s=60.0)
    player.show(scene(), gain(0.02), 3.0)
    assert player.said == []


def test_a_picture_of_another_size_is_learned_anew() -> None:
    player = learned()
    tall = np.ascontiguousarray(scene(2).transpose(1, 0, 2))
    player.show(tall, None, 30.0)
    assert player.said == []


MASK = ((0.0, 0.0), (0.6, 0.0), (0.6, 1.0), (0.0, 1.0))


def masked(picture: Picture) -> Picture:
    drawn = picture.copy()
    drawn[:, : int(0.6 * WIDE)] = 0
    return drawn


def test_a_large_privacy_mask_is_neither_dark_nor_a_cover_and_hides_no_fault() -> None:
    numbers = itertools.count()
    player = Player(health(privacy=(MASK,)))

    def show(change: Change | None, seconds: float) -> None:
        player.began = player.looks
        for _ in range(round(seconds / LOOK_S)):
            shown = change(scene(), 0.0) if change else scene()
            player.look(masked(noisy(shown, next(numbers))))

    show(None, 80.0)
    assert player.said == []
    for n, (change, fault) in enumerate([(gain(0.02), "dark"), (moved(30), "moved"), (covered(90), "covered")]):
        show(change, 10.0)
        show(None, 25.0)
        assert player.raised()[n:] == [fault]


# ---- remembered ------------------------------------------------------------------------------------------------------


def next_run(player: Player, **options: object) -> Player:
    """The agent starts anew, 30 s after it ended; what was raised is offered, as `agent.raised` does."""
    after = Player(health(**options))
    after.watch.recall(player.watch.memory())
    after.looks = 100_000  # another clock
    after.goes_on = [
        after.watch.resume(body.fault, body.alert, after.looks * LOOK_S - 30.0)
        for body in player.bodies
        if body.state == "raised" and body.fault in player.watch.faults()
    ]
    return after


def test_a_camera_moved_while_the_agent_was_off_is_told() -> None:
    player = next_run(learned())
    player.show(scene(), moved(30), 10.0)
    assert player.raised() == ["moved"]


def test_an_alert_goes_on_over_a_restart_under_its_name() -> None:
    player = learned()
    player.show(scene(), covered(150), 30.0)
    after = next_run(player)
    assert after.watch.faults() == ("covered",)
    after.show(scene(), covered(150), 10.0)
    assert after.said == []
    after.show(scene(), None, 15.0)
    assert after.said[0][:2] == ("covered", "cleared")
    assert after.bodies[0].alert == player.bodies[0].alert
    assert after.bodies[0].lasted_s == pytest.approx(30.0 + 10.0 + 5.0, abs=3.0)


def test_lines_drawn_anew_make_a_moved_view_the_usual_one() -> None:
    player = learned()
    player.show(scene(), moved(30), 20.0)
    after = next_run(player, fingerprint="new lines")
    assert after.goes_on == [False]
    after.show(moved(30)(scene(), 0.0), None, 100.0)
    assert after.said == []
    after.show(scene(), None, 10.0)
    assert after.raised() == ["moved"]


def test_an_alert_does_not_go_on_where_nobody_watches_for_it_or_the_view_is_not_known_any_more() -> None:
    player = learned()
    player.show(scene(), covered(150), 30.0)
    assert next_run(player, watched=("dark",)).goes_on == [False]
    assert not health().resume("covered", "a1", 0.0)


def test_it_is_remembered_when_a_view_is_known_when_something_is_told_and_hourly() -> None:
    player, asked = Player(health()), 0
    for pause_s in (0.0, 0.0, 3000.0, 1000.0):
        player.look(scene(), later_s=pause_s)
        player.show(scene(), None, 40.0)
        asked += player.watch.is_to_be_remembered()
        player.watch.memory()
    assert asked == 2
    player.show(scene(), gain(0.02), 10.0)
    assert player.watch.is_to_be_remembered()


def damaged(whole: bytes) -> Iterator[bytes]:
    yield b""
    yield b"not a memory"
    yield whole[: len(whole) // 2]
    for place in range(0, len(whole), max(len(whole) // 60, 1)):
        yield whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]


def test_a_damaged_memory_is_refused_as_one_or_harmless() -> None:
    whole = learned().watch.memory()
    for memory in damaged(whole):
        watch = health()
        try:
            watch.recall(memory)
        except ValueError:
            assert watch.faults() == ()
        player = Player(watch)
        player.show(scene(), None, 3.0)
        assert player.said == []


def test_a_restart_after_a_bug_keeps_what_is_known_and_raised() -> None:
    player = learned()
    player.show(scene(), moved(30), 10.0)
    player.watch.restart()
    assert player.watch.faults() == ("moved",)
    player.show(scene(), None, 15.0)
    assert player.said[-1][:2] == ("moved", "cleared")


def test_every_fault_of_the_contract_is_watched() -> None:
    assert set(FAULTS) == set(CameraFault.model_json_schema()["properties"]["fault"]["enum"])
