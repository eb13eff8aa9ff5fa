"""A box in the sun: how the budget follows heat, a weak supply and load. Its board is files, its clock told."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from agent.clock import FakeClock
from agent.contract.event import BoxStrained, Event, Stream
from agent.errors import EventStoreError
from agent.ops.strain import Strain, what_is_wrong
from agent.vision.budget import InferenceBudget
from drivers.board import Board, BoardState
from tests.support.sysfs import FakeSysfs

HOT_C = 75.0


class Box:
    """busy: share of the time in which the detector works, when it may do all that is configured."""

    def __init__(self, root: Path) -> None:
        self.sysfs = FakeSysfs(root)
        self.sysfs.heat(50.0)
        self.clock = FakeClock(mono_s=1000.0)
        self.budget = InferenceBudget(40.0)
        self.busy_s = 0.0
        self.events: list[Event] = []
        self.disk_is_full = False
        self.strain = self.start()

    def start(self) -> Strain:
        self.strain = Strain(
            Board(self.sysfs.root),
            self.budget,
            lambda: self.busy_s,
            self._put,
            hot_c=HOT_C,
            clock=self.clock,
            new_id=lambda: f"alert-{len(self.events)}",
        )
        return self.strain

    def _put(self, *events: Event) -> None:
        if self.disk_is_full:
            raise EventStoreError("/var/lib/outbox.db: disk full; free some space")
        self.events += events

    @property
    def share(self) -> float:
        return self.budget.state().limit_per_s / 40.0

    def pass_time(self, seconds: int, busy: float = 0.0) -> list[float]:
        """A second at a time; the share after each."""
        shares = []
        for _ in range(seconds):
            self.clock.sleep(1.0)
            self.busy_s += min(busy * self.share, 1.0)
            self.strain.update()
            shares.append(self.share)
        return shares

    def told(self) -> list[BoxStrained]:
        return [event.body for event in self.events if isinstance(event.body, BoxStrained)]


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_a_cool_box_has_all_that_is_configured(box: Box) -> None:
    assert set(box.pass_time(600, busy=0.5)) == {1.0}
    assert box.strain.causes() == ()
    assert box.events == []


def test_a_box_without_a_thermometer_has_all_that_is_configured(tmp_path: Path) -> None:
    box = Box(tmp_path)
    (tmp_path / "class/thermal/thermal_zone0/temp").unlink()
    assert set(box.pass_time(60)) == {1.0}


def test_the_budget_falls_gradually_with_heat_and_never_to_nothing(box: Box) -> None:
    box.sysfs.heat(110.0)
    shares = box.pass_time(120)
    assert shares[-1] == pytest.approx(0.2)
    assert max(before - after for before, after in pairwise(shares)) <= 0.021
    assert box.strain.causes() == ("hot",)
    assert box.strain.board.cpu_c == 110.0


def test_a_little_heat_costs_a_little(box: Box) -> None:
    box.sysfs.heat(HOT_C + 2.5)
    assert box.pass_time(120)[-1] == pytest.approx(0.8)


def test_it_does_not_tremble_at_the_limit(box: Box) -> None:
    box.sysfs.heat(HOT_C + 4.0)
    settled = box.pass_time(120)[-1]
    shares = []
    for n in range(100):
        box.sysfs.heat(HOT_C + (4.0 if n % 2 else 0.0))
        shares += box.pass_time(3)
    assert set(shares) == {settled}


def test_it_comes_back_when_the_box_has_cooled_down_by_five_degrees(box: Box) -> None:
    box.sysfs.heat(HOT_C + 10.0)
    box.pass_time(120)
    box.sysfs.heat(HOT_C - 1.0)
    assert box.pass_time(300)[-1] == pytest.approx(0.2 + 0.8 * 0.6)
    box.sysfs.heat(HOT_C - 5.0)
    shares = box.pass_time(60)
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
    assert box.strain.causes() == ()


@pytest.mark.parametrize("cause", ["slowed", "undervoltage"])
def test_what_firmware_or_kernel_say_costs_all_but_the_least_until_it_has_not_been_so_for_a_minute(
    box: Box, cause: str
) -> None:
    box.sysfs.firmware(0x4 if cause == "slowed" else 0x1)
    assert box.pass_time(60)[-1] == pytest.approx(0.2)
    assert box.strain.causes() == (cause,)
    box.sysfs.firmware(0x0)
    assert box.pass_time(58)[-1] == pytest.approx(0.2)
    assert box.pass_time(60)[-1] == 1.0


def test_a_supply_that_drops_for_a_moment_again_and_again_is_no_saw(box: Box) -> None:
    box.sysfs.firmware(0x1)
    box.pass_time(60)
    shares = []
    for n in range(20):
        box.sysfs.firmware(0x1 if n % 2 else 0x0)
        shares += box.pass_time(20)
    assert max(shares) == pytest.approx(0.2)


def test_a_detector_that_never_rests_is_asked_less_until_it_does(box: Box) -> None:
    """At all that is configured it would need 2.5 seconds for each."""
    box.pass_time(600, busy=2.5)
    assert box.share * 2.5 < 0.95
    assert box.strain.causes() == ("load",)
    settled = box.pass_time(300, busy=2.5)
    assert max(settled) - min(settled) < 0.1
    assert box.pass_time(120, busy=0.4)[-1] == 1.0


def test_the_worst_of_several_causes_counts_and_all_are_named(box: Box) -> None:
    box.sysfs.heat(HOT_C + 2.5)
    box.sysfs.firmware(0x1)
    assert box.pass_time(120)[-1] == pytest.approx(0.2)
    assert box.strain.causes() == ("hot", "undervoltage")


def test_the_agent_that_was_asleep_does_not_jump(box: Box) -> None:
    box.sysfs.heat(110.0)
    box.clock.sleep(10_000.0)
    box.strain.update()
    assert box.share == pytest.approx(0.9)


# ---- told ------------------------------------------------------------------------------------------------------------


def test_what_lasts_a_minute_is_raised_once_and_cleared_when_there_is_all_again(box: Box) -> None:
    box.sysfs.heat(HOT_C + 8.0)
    box.pass_time(60)
    assert box.told() == []
    box.pass_time(3600)
    box.sysfs.heat(60.0)
    box.pass_time(600)
    raised, cleared = box.told()
    assert (raised.state, raised.causes, raised.cpu_c, raised.severity) == ("raised", ("hot",), 83.0, "warning")
    assert (cleared.state, cleared.alert, cleared.cpu_c) == ("cleared", raised.alert, 60.0)
    assert cleared.lasted_s == pytest.approx(3600 + 60 + 32, abs=30)
    assert {(event.stream, event.source) for event in box.events} == {(Stream.ALERT, "box")}


def test_a_little_less_is_not_worth_an_alert(box: Box) -> None:
    box.sysfs.heat(HOT_C + 2.0)
    box.pass_time(3600)
    assert box.share < 1.0
    assert box.told() == []


def test_an_alert_that_was_raised_before_a_restart_is_cleared_under_its_id(box: Box) -> None:
    box.sysfs.heat(HOT_C + 8.0)
    box.pass_time(300)
    (raised,) = box.told()
    box.start().resume(raised, box.clock.mono_s() - 150.0)
    box.pass_time(300)
    assert len(box.told()) == 1
    box.sysfs.heat(60.0)
    box.pass_time(300)
    assert [(body.state, body.alert) for body in box.told()] == [("raised", raised.alert), ("cleared", raised.alert)]


def test_an_alert_that_cannot_be_stored_is_told_when_it_can(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    box.disk_is_full = True
    box.sysfs.heat(HOT_C + 8.0)
    box.pass_time(300)
    assert caplog.text.count("wait to be stored") == 1
    box.disk_is_full = False
    box.pass_time(1)
    assert [body.state for body in box.told()] == ["raised"]


def test_the_log_says_in_words_what_is_wrong_and_when_it_is_over(
    box: Box, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "vi_VN.UTF-8")
    caplog.set_level("INFO")
    box.sysfs.heat(82.0)
    box.pass_time(60)
    box.sysfs.heat(60.0)
    box.pass_time(60)
    assert [record.getMessage() for record in caplog.records] == [
        "bo mạch: LỖI: nóng, 82 °C; trên 75 °C thiết bị sẽ nhận dạng thưa hơn",
        "số lần nhận dạng mỗi giây sẽ ít hơn mức 40 trong cấu hình cho đến khi hết sự cố",
        "số lần nhận dạng mỗi giây đã trở lại mức 40 như trong cấu hình",
    ]


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        (BoardState(74.9), ()),
        (BoardState(75.0), ("hot",)),
        (BoardState(None, True, True), ("slowed", "undervoltage")),
    ],
)
def test_a_single_look_tells_what_is_wrong_now(state: BoardState, wanted: tuple[str, ...]) -> None:
    assert what_is_wrong(state, HOT_C) == wanted
