"""Until when a certificate is valid. The certificates are real, their dates are made for the case."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.ops.certificates import judge_authorities, judge_own
from tests.support.authority import Authority

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("begins_in_days", "ends_in_days", "wanted"),
    [
        pytest.param(-30, 300, [], id="valid"),
        pytest.param(-30, 10, ["cert-soon"], id="expires soon"),
        pytest.param(-30, -1, ["cert-expired"], id="expired"),
        pytest.param(1, 300, ["cert-not-yet"], id="not valid yet"),
    ],
)
def test_a_certificate_is_judged_by_its_dates(
    tmp_path: Path, begins_in_days: int, ends_in_days: int, wanted: list[str]
) -> None:
    authority = Authority(tmp_path, "city")
    days = (NOW + timedelta(days=begins_in_days), NOW + timedelta(days=ends_in_days))
    pair = authority.issue("box", valid=days)
    assert [one.kind for one in judge_own(pair.certificate, NOW)] == wanted


def test_a_box_that_has_the_certificate_of_another_name_is_told(tmp_path: Path) -> None:
    days = (NOW - timedelta(days=1), NOW + timedelta(days=300))
    pair = Authority(tmp_path, "city").issue("gw-01", valid=days)
    assert list(judge_own(pair.certificate, NOW, "gw-01")) == []
    (one,) = judge_own(pair.certificate, NOW, "cua-bac/gw-01")
    assert (one.kind, one.values["is_for"], one.values["wanted"]) == ("cert-name", "gw-01", "cua-bac/gw-01")


def test_of_a_chain_our_own_certificate_counts(tmp_path: Path) -> None:
    city = Authority(tmp_path, "city", valid=(NOW - timedelta(days=9), NOW + timedelta(days=900)))
    ours = city.issue("box", valid=(NOW - timedelta(days=9), NOW - timedelta(days=1)))
    chain = tmp_path / "chain.pem"
    chain.write_bytes(ours.key.read_bytes() + ours.certificate.read_bytes() + city.file.read_bytes())
    assert [one.kind for one in judge_own(chain, NOW)] == ["cert-expired"]


def test_of_several_authorities_in_one_file_the_one_that_is_valid_longest_counts(tmp_path: Path) -> None:
    old = Authority(tmp_path / "old", "old", valid=(NOW - timedelta(days=900), NOW - timedelta(days=1)))
    new = Authority(tmp_path / "new", "new", valid=(NOW - timedelta(days=9), NOW + timedelta(days=900)))
    both = tmp_path / "ca.pem"
    both.write_bytes(old.file.read_bytes() + new.file.read_bytes())
    assert list(judge_authorities(both, NOW)) == []
    assert [one.kind for one in judge_authorities(old.file, NOW)] == ["cert-expired"]


def test_a_file_that_holds_no_certificate_is_the_links_to_tell(tmp_path: Path) -> None:
    text = tmp_path / "ca.pem"
    text.write_text("not a certificate")
    assert [*judge_own(text, NOW), *judge_authorities(text, NOW)] == []
