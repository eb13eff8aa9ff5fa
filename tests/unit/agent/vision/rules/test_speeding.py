import pytest

from agent.contract.event import Counts, Crossing, Speeding
from tests.support.scripted import LINE, ZONE, ScriptedCamera
from tests.support.vision import standing_at

# Seen from straight above, 10 px a metre: 600 px in 4 s are 54 km/h.
CALIBRATION = """
[camera.calibration]
points = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
metres = [[0, 0], [64, 0], [64, 36], [0, 36]]
"""
UPRIGHT = '[[camera.line]]\nid = "gate"\na = [0.6, 1.0]\nb = [0.6, 0.0]\n'
RULE = '[[camera.rule]]\nid = "too-fast"\nkind = "speeding"\n'


def drive(watched: ScriptedCamera, kmh: float, name: str = "car") -> None:
    watched.show(seconds=2)
    watched.move(name, standing_at(20, 250, 60, 40), standing_at(620, 250, 60, 40), seconds=60 / (kmh / 3.6))
    watched.show(seconds=2)


@pytest.mark.parametrize("where", [pytest.param('line = "gate"', id="line"), pytest.param('zone = "plaza"', id="zone")])
@pytest.mark.parametrize(
    ("limit_kmh", "told"),
    [
        pytest.param(40, True, id="clearly above the limit"),
        pytest.param(53, False, id="above it by less than the measurement may be wrong"),
        pytest.param(60, False, id="below it"),
    ],
)
def test_who_is_too_fast_beyond_doubt_is_told_with_the_speed_and_its_error(
    where: str, limit_kmh: int, told: bool
) -> None:
    watched = ScriptedCamera(UPRIGHT + ZONE + CALIBRATION + f"{RULE}{where}\nlimit_kmh = {limit_kmh}\n")
    drive(watched, 54)
    alerts = watched.said(Speeding)
    assert len(alerts) == told
    for alert in alerts:
        assert (alert.rule, alert.severity, alert.object_class, alert.limit_kmh) == ("too-fast", "warning", "car", 40)
        assert (alert.line, alert.zone) == (("gate", None) if "line" in where else (None, "plaza"))
        assert alert.speed_kmh == pytest.approx(54, abs=alert.speed_error_kmh)
        assert alert.speed_error_kmh < 10


def test_who_is_no_vehicle_is_not_told() -> None:
    watched = ScriptedCamera(UPRIGHT + CALIBRATION + RULE + 'line = "gate"\nlimit_kmh = 20\n')
    drive(watched, 25, "person")  # a runner: who is faster has something under him
    assert watched.said(Speeding) == []


def test_a_crossing_tells_its_speed_where_the_camera_is_calibrated_and_nothing_of_it_elsewhere() -> None:
    for calibration in (CALIBRATION, ""):
        watched = ScriptedCamera(UPRIGHT + LINE.replace("gate", "level") + calibration)
        drive(watched, 36)
        (crossing,) = watched.said(Crossing)
        watched.finish()
        (counts,) = watched.said(Counts)
        if calibration:
            assert crossing.speed_kmh == pytest.approx(36, abs=2)
            assert crossing.speed_error_kmh is not None
            assert counts.flows is not None
            assert counts.flows[0].mean_speed_kmh == crossing.speed_kmh
        else:
            assert (crossing.speed_kmh, crossing.speed_error_kmh, counts.flows) == (None, None, None)
