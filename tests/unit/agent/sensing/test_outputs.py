from __future__ import annotations

from pathlib import Path

import pytest

from agent.clock import FakeClock
from agent.contract.event import Input
from agent.sensing.outputs import OutputKeeper
from agent.sensing.quantity import Said
from drivers.sensors.fakes import FolderPins
from drivers.sensors.gpio import GpioOutput, Line


class Siren:
    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.file = folder / "22"
        self.output = GpioOutput("siren", "chip", Line("siren", 22), pins=FolderPins(folder))
        raised = [("cabinet", "door"), ("cabinet", "tamper")]
        self.keeper = OutputKeeper(self.output, raised, at_most_s=60.0, clock=self.clock)

    def hear(self, rule: str, state: str, sensor: str = "cabinet") -> bool:
        body = Input(rule=rule, severity="warning", state=state, alert="a1")  # type: ignore[arg-type]
        self.keeper.heard(sensor, Said(body, self.clock.mono_s()))
        return self.is_on()

    def is_on(self) -> bool:
        return self.file.read_text() == "1\n"


@pytest.fixture
def siren(tmp_path: Path) -> Siren:
    made = Siren(tmp_path)
    made.keeper.tick()
    return made


def test_it_is_on_while_any_of_its_alerts_is_raised(siren: Siren) -> None:
    assert not siren.is_on()
    assert siren.hear("door", "raised")
    assert siren.hear("tamper", "raised")
    assert siren.hear("door", "cleared")
    assert not siren.hear("tamper", "cleared")


def test_alerts_of_others_do_not_switch_it_on(siren: Siren) -> None:
    assert not siren.hear("mains", "raised")
    assert not siren.hear("door", "raised", sensor="other")


def test_it_does_not_howl_for_ever_and_howls_again_for_the_next_alert(siren: Siren) -> None:
    siren.hear("door", "raised")
    siren.clock.sleep(61.0)
    siren.keeper.tick()
    assert not siren.is_on()
    assert siren.hear("tamper", "raised")


def test_it_is_off_at_the_end(siren: Siren) -> None:
    siren.hear("door", "raised")
    siren.keeper.close()
    assert not siren.is_on()
    assert not siren.hear("tamper", "raised")


def test_a_line_that_cannot_be_reached_is_told_and_taken_anew_after_a_while(tmp_path: Path) -> None:
    folder = tmp_path / "pins"
    siren = Siren(folder)
    siren.keeper.tick()
    assert "output siren: chip is not there" in (siren.keeper.state().error or "")
    folder.mkdir()
    siren.keeper.tick()
    assert siren.keeper.state().error is not None
    siren.clock.sleep(11.0)
    siren.keeper.tick()
    assert (siren.keeper.state().error, siren.is_on()) == (None, False)


def test_a_chip_that_was_unplugged_and_is_back_is_taken_anew_when_the_siren_is_needed(siren: Siren) -> None:
    siren.output.close()  # what was taken leads nowhere any more, and nobody has noticed while it was off
    assert siren.hear("door", "raised")
