import math

import pytest

from drivers.units import UNITS, absurd, check_unit


def test_a_known_unit_is_taken_as_it_is() -> None:
    assert [check_unit(unit) for unit in UNITS] == list(UNITS)


@pytest.mark.parametrize(
    ("written", "meant"), [("ug/m3", "µg/m³"), ("degC", "°C"), ("dB(A)", "dBA"), ("%RH", "%"), ("lux", "lx")]
)
def test_another_spelling_is_refused_with_the_one_that_is_meant(written: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean '{meant}'"):
        check_unit(written)


def test_the_greek_mu_is_the_micro_sign() -> None:
    assert check_unit("\u03bcg/m³") == "µg/m³"


def test_a_unit_that_nobody_knows_is_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match="'furlong' is not known; wanted one of: bool 1 %"):
        check_unit("furlong")


@pytest.mark.parametrize(
    ("value", "unit"), [(101.0, "%"), (-0.1, "µg/m³"), (-274.0, "°C"), (math.nan, "m"), (math.inf, "m"), (200, "dBA")]
)
def test_what_cannot_be_in_nature_is_absurd(value: float, unit: str) -> None:
    assert "cannot be; wanted" in (absurd(value, unit) or "")


def test_a_unit_of_a_foreign_driver_that_is_not_in_the_list_makes_its_values_absurd() -> None:
    assert "not known" in (absurd(1.0, "furlong") or "")


def test_the_ends_of_a_range_are_possible() -> None:
    assert [absurd(end, unit) for unit, ends in UNITS.items() for end in ends] == [None] * len(UNITS) * 2
