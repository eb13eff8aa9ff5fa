"""A few updates of a real box in the ordinary run of the tests; the whole matrix is `python -m tests.update`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mosquitto import PROGRAM
from tests.support.updates import update_file
from tests.update.matrix import Kill, kills, run, steps_of
from tests.update.releases import launcher
from tests.update.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    if PROGRAM is None:
        pytest.skip("no mosquitto; apt-get install mosquitto")
    with Rig(tmp_path / "box") as rig:
        assert rig.problems() == []
        yield rig


def test_bad_files_change_nothing_and_the_operations_centre_hears_why(rig: Rig) -> None:
    version, pid = rig.version, rig.service.pid
    files = {"launcher.py": launcher("0.9.0")}
    for fields in ({"version": "0.0.1"}, {"version": "0.9.0", "machine": "riscv64"}):
        rig.number += 1
        rig.drop(files, **fields)
    times = {"created": "2026-01-01T00:00:00Z", "expires": "2026-01-02T00:00:00Z"}
    whole = update_file(files, version="0.9.0", expires="2099-01-01T00:00:00Z", created="2026-01-01T00:00:00Z")
    bad = {
        "signed.gwu": update_file(files, "anh", "mallory", version="0.9.0"),
        "cut.gwu": whole[:2500],
        "changed.gwu": whole.replace(b"0.9.0'", b"0.9.1'"),
        "expired.gwu": update_file(files, version="0.9.0", **times),
    }
    for name, content in bad.items():
        rig.folders.drop(content, name)
    rig.finish_updates()
    assert rig.problems() == []
    assert (rig.version, rig.service.pid) == (version, pid)
    why = {message["file"]: message["reason"] for message in rig.told() if message["result"] == "refused"}
    words = {
        "gateway-update-1.gwu": "version 0.0.1 is older than 0.1.0",
        "gateway-update-2.gwu": "it is for riscv64",
        "signed.gwu": "signed by 1 key(s)",
        "cut.gwu": "cut off",
        "changed.gwu": "damaged or was changed",
        "expired.gwu": "it has expired on 2026-01-02",
    }
    assert {name: words[name] for name in words if words[name] not in why.get(name, "not refused")} == {}


def test_a_good_release_killed_in_its_trial_and_a_broken_one_cut_off_from_power_end_well(rig: Rig) -> None:
    steps_of(rig, "good")
    steps = steps_of(rig, "good")
    trial = steps.index("restart") + 1
    for kill in (
        Kill("good", trial, "restart", "after", power=True),
        Kill("crashes", trial, "restart", "after", power=False),
    ):
        _, problems, _ = run(rig, kill)
        assert problems == []


def test_every_step_of_the_matrix_is_met_before_and_after() -> None:
    steps = ["a", "b", "c", "d", "restart", "e"]
    met = list(kills("good", steps, full=False))
    assert {(kill.step, kill.when) for kill in met} == {(n, w) for n in range(1, 7) for w in ("before", "after")}
    assert {kill.power for kill in met} == {True, False}
    everything = list(kills("hangs", steps, full=True))
    assert len(everything) == len(steps) * 4
