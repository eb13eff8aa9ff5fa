import pytest

from drivers.cameras.pace import Pace


def passed(fps: float | None, times_s: list[float]) -> list[int]:
    pace = Pace(fps)
    return [n for n, time_s in enumerate(times_s) if pace.wants(time_s)]


@pytest.mark.parametrize(
    ("fps", "times_s", "wanted"),
    [
        pytest.param(None, [0, 0.01, 0.02], [0, 1, 2], id="everything"),
        pytest.param(10, [n / 25 for n in range(11)], [0, 2, 5, 7, 10], id="25 to 10"),
        pytest.param(10, [n / 60 for n in range(13)], [0, 5, 11], id="60 to 10, a little early"),
        pytest.param(10, [n / 10 + 0.02 * (n % 2) for n in range(6)], [0, 1, 2, 3, 4, 5], id="jitter loses nothing"),
        pytest.param(10, [0, 5.0, 5.01, 5.02, 5.1], [0, 1, 4], id="no catching up after a pause"),
        pytest.param(30, [0, 0.1, 0.2], [0, 1, 2], id="more wanted than there is"),
    ],
)
def test_pace(fps: float | None, times_s: list[float], wanted: list[int]) -> None:
    assert passed(fps, times_s) == wanted


@pytest.mark.parametrize(("source_fps", "fps"), [(60, 10), (25, 10), (30, 7), (29.97, 5), (12.5, 10), (24, 23)])
def test_the_average_over_a_minute_is_what_was_asked_for(source_fps: float, fps: float) -> None:
    seconds = 60
    assert len(passed(fps, [n / source_fps for n in range(int(seconds * source_fps))])) == pytest.approx(
        seconds * fps, rel=0.02
    )
