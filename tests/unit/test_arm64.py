"""What `python -m tests.arm64` decides by: which wheels belong on the board, and whether two machines see the same."""

from __future__ import annotations

import pytest

from tests.arm64.root import LOCK, for_the_board
from tests.support.sight import Seen, difference, unmatched

CAR: Seen = ("car", 0.8, (100.0, 100.0, 200.0, 200.0))
FAINT: Seen = ("person", 0.3, (10.0, 10.0, 20.0, 40.0))


def test_the_board_gets_what_its_markers_say_with_all_hashes() -> None:
    lock = (
        "numpy==1.26.4 ; platform_machine == 'armv7l' \\\n    --hash=sha256:aa\n"
        "numpy==2.4.6 ; python_full_version < '3.12' and platform_machine != 'armv7l' \\\n"
        "    --hash=sha256:bb \\\n    --hash=sha256:cc\n"
        "colorama==0.4.6 ; sys_platform == 'win32' \\\n    --hash=sha256:dd\n"
        "pytest==9.2.0 \\\n    --hash=sha256:ee\n"
    )
    assert for_the_board(lock) == (
        "numpy==2.4.6 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\npytest==9.2.0 \\\n    --hash=sha256:ee\n"
    )


def test_the_lock_file_has_one_version_of_everything_for_the_board_and_a_hash_for_each() -> None:
    blocks = for_the_board(LOCK.read_text(encoding="utf-8")).split("\n")
    names = [line.split("==")[0] for line in blocks if "==" in line]
    assert {"ai-edge-litert", "numpy", "opencv-python-headless", "pytest"} <= set(names)
    assert len(names) == len(set(names))
    assert sum("--hash=" in line for line in blocks) >= len(names)


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        pytest.param(("car", 0.75, (101.0, 100.0, 201.0, 200.0)), True, id="a little off"),
        pytest.param(("bus", 0.8, (100.0, 100.0, 200.0, 200.0)), False, id="another class"),
        pytest.param(("car", 0.6, (100.0, 100.0, 200.0, 200.0)), False, id="a score too far off"),
        pytest.param(("car", 0.8, (110.0, 100.0, 210.0, 200.0)), False, id="a box too far off"),
    ],
)
def test_an_object_is_the_same_within_what_is_allowed(other: Seen, is_same: bool) -> None:
    assert (unmatched([CAR], [other], score=0.1, least_overlap=0.9) == []) == is_same


def test_a_faint_object_may_be_on_one_side_alone() -> None:
    assert unmatched([CAR, FAINT], [CAR], score=0.1, least_overlap=0.9) == []
    assert unmatched([CAR], [], score=0.1, least_overlap=0.9) == [CAR]


def test_the_largest_difference_is_told() -> None:
    score, overlap = difference([CAR, FAINT], [("car", 0.75, (100.0, 100.0, 200.0, 190.0))])
    assert score == pytest.approx(0.05)
    assert overlap == pytest.approx(0.9)
