from datetime import datetime

import pytest

from agent.vision.rules.schedule import Schedule

MONDAY = 24  # November 2025


def at(day: int, clock: str) -> datetime:
    hour, minute = (int(part) for part in clock.split(":"))
    return datetime(2025, 11, MONDAY + day, hour, minute)


@pytest.mark.parametrize(
    ("texts", "day", "clock", "wanted"),
    [
        pytest.param(["08:00-17:00"], 2, "08:00", True, id="begins with its first minute"),
        pytest.param(["08:00-17:00"], 2, "16:59", True, id="its last minute"),
        pytest.param(["08:00-17:00"], 2, "17:00", False, id="is over at its end"),
        pytest.param(["08:00-17:00"], 2, "07:59", False, id="has not begun"),
        pytest.param(["22:00-05:00"], 0, "23:30", True, id="before midnight"),
        pytest.param(["22:00-05:00"], 0, "04:59", True, id="after midnight"),
        pytest.param(["22:00-05:00"], 0, "12:00", False, id="at noon"),
        pytest.param(["Mo-Fr 22:00-05:00"], 5, "04:00", True, id="Friday's night goes on into Saturday"),
        pytest.param(["Mo-Fr 22:00-05:00"], 5, "22:00", False, id="Saturday has no night of its own"),
        pytest.param(["Mo-Fr 22:00-05:00"], 0, "04:00", False, id="Monday's small hours belong to Sunday"),
        pytest.param(["Su 22:00-05:00"], 0, "04:00", True, id="Sunday's night goes on into Monday"),
        pytest.param(["Sa,Su 00:00-24:00"], 6, "23:59", True, id="all day"),
        pytest.param(["Sa,Su 00:00-24:00"], 0, "00:00", False, id="and no longer"),
        pytest.param(["Sa-Mo 10:00-11:00"], 0, "10:30", True, id="days over the week's end"),
        pytest.param(["Sa-Mo 10:00-11:00"], 1, "10:30", False, id="and not the days between"),
        pytest.param(["08:00-09:00", "Tu 20:00-21:00"], 1, "20:30", True, id="the second of two"),
    ],
)
def test_hours_of_the_week(texts: list[str], day: int, clock: str, wanted: bool) -> None:
    assert Schedule(texts).includes(at(day, clock)) is wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("22-5", "wanted hours such as", id="no minutes"),
        pytest.param("Mon 22:00-05:00", "wanted hours such as", id="a day by another name"),
        pytest.param("Mo- 22:00-05:00", "wanted hours such as", id="half a range of days"),
        pytest.param("25:00-26:00", "no 25:00 on a clock", id="an hour that is none"),
        pytest.param("10:60-11:00", "no 10:60 on a clock", id="a minute that is none"),
        pytest.param("10:00-10:00", "lasts no time", id="nothing"),
        pytest.param("", "wanted hours such as", id="empty"),
    ],
)
def test_what_names_no_hours_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Schedule([text])
