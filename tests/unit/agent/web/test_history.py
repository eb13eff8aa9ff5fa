from agent.contract.box import SensorHealth
from agent.web import history
from agent.web.history import HEIGHT, WIDTH, History
from tests.support.web import some_health


def points(text: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split())]


def test_a_curve_ends_at_the_right_edge_and_uses_the_whole_height() -> None:
    kept = History()
    for celsius in (40.0, 60.0, 50.0):
        kept.sample(some_health(cpu_c=celsius))
    curve = kept.curve("cpu_c")
    assert curve is not None
    assert (curve.lowest, curve.highest) == (40.0, 60.0)
    (x1, y1), (x2, y2), (x3, y3) = points(curve.points)
    assert x1 < x2 < x3 == WIDTH
    assert (y1, y2, y3) == (HEIGHT - 2, 2.0, HEIGHT / 2)


def test_one_value_is_no_curve_and_one_that_never_changes_is_a_flat_one() -> None:
    kept = History()
    kept.sample(some_health())
    assert kept.curve("cpu_c") is None
    kept.sample(some_health())
    curve = kept.curve("cpu_c")
    assert curve is not None
    assert len({y for _, y in points(curve.points)}) == 1


def test_a_sensor_that_is_silent_leaves_a_gap_and_not_its_last_value() -> None:
    kept = History()
    for state in ("ok", "silent", "ok"):
        kept.sample(some_health(sensors={"air": SensorHealth(state=state, values={"pm25": 12.5})}))
    curve = kept.curve("sensor", "air", "pm25")
    assert curve is not None
    assert len(points(curve.points)) == 2


def test_what_is_kept_is_bounded() -> None:
    kept = History()
    many = {f"s{n}": SensorHealth(state="ok", values={"a": 1.0, "b": 2.0}) for n in range(1000)}
    for _ in range(history._SAMPLES + 5):
        kept.sample(some_health(sensors=dict(list(many.items())[:3])))
    kept.sample(some_health(sensors=many))
    assert len(kept._values) == history._MOST_CURVES
    assert max(map(len, kept._values.values())) == history._SAMPLES
