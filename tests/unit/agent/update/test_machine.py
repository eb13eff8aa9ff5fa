"""The life of an update on a box in a folder: real files and links, a clock that only moves when told, a service and
an agent that do what the test says. That it survives kills is shown with real processes, in tests/update."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.clock import FakeClock
from agent.errors import GatewayError, UpdateRefused
from agent.update import state
from agent.update.machine import INTERRUPTED, Machine, drop
from agent.update.proof import Pulse, write_pulse
from agent.update.service import ServiceStatus
from agent.update.slots import link_target
from agent.update.verify import UNSET
from drivers.inference.pack import BUNDLED
from tests.support.updates import NOW_MS, Folders, trust_text, update_file

CONFIG = '[box]\nsite = "cua-bac"\nid = "gw-01"\n[[camera]]\nid = "cam"\nsource = "rtsp://10.0.0.1/s"\n'
MODELS = next(root for root in BUNDLED if root.name == "models" and root.is_dir())


class Box(Folders):
    """works: says of (release, configuration) what is wrong with the agent that would run; nothing: it is healthy."""

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        self.places = replace(self.places, system=top / "system")
        self.set_up(config=CONFIG, trust=trust_text())
        self.clock = FakeClock(NOW_MS)
        self.works: Callable[[], dict[str, Any] | None] = lambda: {}
        self.failed_after: int | None = None
        self.starts = 0
        self.pid = 0
        self.tells = True
        self.asked = 0
        self.reloads: list[tuple[list[str], list[str]]] = []
        self.said: list[tuple[str, str | None]] = []
        self.service_up()

    @property
    def version(self) -> str:
        return Path(os.readlink(self.places.current)).name

    # -- the service, as the machine sees it

    def restart(self) -> None:
        self.starts += 1
        self.asked = 0
        self.service_up()

    def service_up(self) -> None:
        self.pid += 1
        self.beat()

    def beat(self) -> None:
        wrong = self.works()
        if wrong is None:
            self.places.pulse.unlink(missing_ok=True)
            return
        told = state.load(self.places.state).reported if self.tells else 0
        health = {
            "cameras": {"cam": {"state": "open", "fps": 10.0, **wrong.get("camera", {})}},
            "link": {"state": wrong.get("link", "up")},
        }
        looked_ms = wrong.get("looked_ms", 12.0)
        version = wrong.get("version", self.version)
        pulse = Pulse(self.clock.boot_id, self.clock.mono_s(), self.pid, version, looked_ms, told, health)
        write_pulse(self.places.pulse, pulse)

    def reload(self, changed: Sequence[str], enable: Sequence[str]) -> None:
        self.reloads.append((list(changed), list(enable)))

    def status(self) -> ServiceStatus:
        self.asked += 1
        self.beat()
        failed = self.failed_after is not None and self.asked >= self.failed_after and self.version != "0.1.0"
        return ServiceStatus(failed, 0)

    # -- the updater

    def machine(self, **given: Any) -> Machine:
        def install(payload: Path, release: Path, version: str) -> None:
            shutil.copytree(payload, release)

        arguments: dict[str, Any] = {
            "agent": "0.1.0",
            "clock": self.clock,
            "service": self,
            "install": install,
            "prove_s": 60.0,
            "hold_s": 10.0,
            "say": lambda report: self.said.append((report.result, report.reason)),
        }
        return Machine(self.places, **{**arguments, **given})

    def reports(self) -> list[tuple[str, str | None]]:
        return [(report.result, report.reason) for report in state.load(self.places.state).reports]

    def whole(self) -> None:
        """Nothing is under way, and nothing lies about that belongs to nothing."""
        now = state.load(self.places.state)
        assert (now.phase, now.job) == ("idle", None)
        assert link_target(self.places.current) == link_target(self.places.proven)
        links = {link_target(link) for link in (self.places.current, self.places.previous)} - {None}
        assert {f"releases/{folder.name}" for folder in self.places.releases.iterdir()} == links
        assert not self.places.work.exists()
        assert list(self.places.agent_inbox.iterdir()) == []


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk_of_the_whole_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sync", lambda: None)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def release(version: str = "0.2.0", **fields: Any) -> bytes:
    return update_file({"agent.whl": f"agent {version}".encode()}, version=version, **fields)


# ---- releases --------------------------------------------------------------------------------------------------------


def test_a_release_that_works_is_confirmed_and_the_one_before_kept(box: Box) -> None:
    box.drop(release())
    box.machine().work()
    assert box.reports() == [("accepted", None), ("confirmed", None)]
    assert (box.version, link_target(box.places.previous)) == ("0.2.0", "releases/0.1.0")
    assert (box.places.releases / "0.2.0" / "agent.whl").read_bytes() == b"agent 0.2.0"
    box.whole()


def test_only_two_releases_are_kept(box: Box) -> None:
    for version in ("0.2.0", "0.3.0", "0.4.0"):
        box.drop(release(version))
        box.machine().work()
    assert {folder.name for folder in box.places.releases.iterdir()} == {"0.3.0", "0.4.0"}
    box.whole()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        pytest.param(None, "the agent gives no sign of life", id="it hangs"),
        pytest.param({"version": "0.1.0"}, "agent 0.1.0 runs, not 0.2.0", id="another version runs"),
        pytest.param(
            {"camera": {"state": "silent", "error": "refused"}}, "camera cam is silent: refused", id="a camera"
        ),
        pytest.param(
            {"camera": {"fps": 4.9}}, "camera cam gives 4.9 pictures a second; before it gave 10.0", id="fewer pictures"
        ),
        pytest.param({"looked_ms": None}, "its detector has looked at nothing", id="no inference"),
        pytest.param({"link": "down"}, "it is not connected to the broker; before it was", id="no broker"),
    ],
)
def test_a_release_that_does_not_prove_itself_is_rolled_back(box: Box, wrong: dict[str, Any] | None, why: str) -> None:
    box.works = lambda: wrong if box.version == "0.2.0" else {}
    box.drop(release())
    box.machine().work()
    *before, last = box.reports()
    assert last == ("rolled-back", f"not healthy within 60 s: {why}")
    # It is told by an agent that runs, in the version that is tried; else nobody could tell it but the old one.
    has_come_up = wrong is not None and "version" not in wrong
    assert before == ([("accepted", None)] if has_come_up else [])
    assert (box.version, box.starts) == ("0.1.0", 2)
    box.whole()


def test_a_release_that_cannot_store_is_rolled_back(box: Box) -> None:
    box.tells = False
    box.drop(release())
    box.machine().work()
    assert box.reports()[-1][1] == "not healthy within 60 s: it has stored nothing in its outbox yet"
    assert box.version == "0.1.0"


def test_a_release_whose_service_failed_is_not_waited_for(box: Box) -> None:
    box.works = lambda: None if box.version == "0.2.0" else {}
    box.failed_after = 3
    began_s = box.clock.mono_s()
    box.drop(release())
    box.machine().work()
    assert "the service failed and is not started again" in str(box.reports()[-1][1])
    assert box.clock.mono_s() - began_s < 10
    box.whole()


def test_the_agent_from_before_is_no_proof_of_the_new_one(box: Box) -> None:
    """It is still there, well, and has told the report: the service has not come round to starting the new one."""
    box.works = lambda: {"version": "0.2.0"}
    machine = box.machine()
    box.restart = lambda: None  # type: ignore[method-assign]
    box.drop(release())
    machine.work()
    assert box.reports()[-1] == ("rolled-back", "not healthy within 60 s: the agent has not been started anew")


def test_the_report_that_proves_the_outbox_cannot_be_told_by_the_agent_from_before(box: Box) -> None:
    """It is still there while it is being stopped, and tells whatever report it finds."""
    told_by_the_old_one = []
    restart = box.restart

    def observed() -> None:
        told_by_the_old_one.append(box.reports())
        restart()

    box.restart = observed  # type: ignore[method-assign]
    box.drop(release())
    box.machine().work()
    assert told_by_the_old_one == [[]]
    assert box.reports() == [("accepted", None), ("confirmed", None)]


def test_an_agent_that_is_started_again_and_again_is_not_healthy(box: Box) -> None:
    box.drop(release())
    machine = box.machine()
    before = box.status

    def status() -> ServiceStatus:
        if box.version == "0.2.0" and box.asked % 5 == 4:
            box.pid += 1
        return before()

    box.status = status  # type: ignore[method-assign]
    machine.work()
    assert box.reports()[-1] == ("rolled-back", "not healthy within 60 s: not for long enough")


def test_what_did_not_work_before_is_not_demanded(box: Box) -> None:
    box.works = lambda: {"camera": {"state": "silent"}, "link": "down"}
    box.beat()
    box.drop(release())
    box.machine().work()
    assert box.reports()[-1] == ("confirmed", None)


def test_a_box_whose_agent_does_not_run_can_be_mended(box: Box) -> None:
    box.works = lambda: None if box.version == "0.1.0" else {}
    box.beat()
    box.drop(release())
    box.machine().work()
    assert (box.version, box.reports()[-1][0]) == ("0.2.0", "confirmed")


def test_a_release_that_cannot_be_installed_is_refused_and_leaves_nothing(box: Box) -> None:
    def install(payload: Path, release: Path, version: str) -> None:
        release.mkdir()
        (release / "half").write_bytes(b"x")
        raise UpdateRefused("the release cannot start: no module named numpy")

    box.drop(release())
    box.machine(install=install).work()
    assert box.reports() == [("refused", "the release cannot start: no module named numpy")]
    assert box.starts == 0
    box.whole()


def test_a_disk_that_is_full_while_installing_is_a_refusal_that_leaves_nothing(box: Box) -> None:
    def install(payload: Path, release: Path, version: str) -> None:
        release.mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    box.drop(release())
    box.machine(install=install).work()
    assert box.reports() == [("refused", "it cannot be put on the disk: [Errno 28] No space left on device")]
    box.whole()


@pytest.mark.parametrize(("works", "why"), [(None, "no sign of life"), ({}, "could not go on: [Errno 28] No space")])
def test_a_disk_that_is_full_during_the_trial_does_not_keep_the_old_one_from_coming_back(
    box: Box, monkeypatch: pytest.MonkeyPatch, works: dict[str, Any] | None, why: str
) -> None:
    box.works = lambda: works if box.version == "0.2.0" else {}
    save = state.save

    def full(path: Path, new: state.State) -> None:
        if box.version == "0.2.0":
            raise OSError(errno.ENOSPC, "No space left on device")
        save(path, new)

    box.drop(release())
    monkeypatch.setattr(state, "save", full)
    box.machine().work()
    result, reason = box.reports()[-1]
    assert (box.version, result, why in str(reason)) == ("0.1.0", "rolled-back", True)
    box.whole()


def test_systemd_that_does_not_answer_ends_the_trial(box: Box) -> None:
    def status() -> ServiceStatus:
        raise OSError("systemctl show did not answer in 60 s")

    box.status = status  # type: ignore[method-assign]
    box.drop(release())
    box.machine().work()
    assert box.reports() == [
        ("rolled-back", "the trial could not go on: systemctl show did not answer in 60 s"),
    ]
    assert box.version == "0.1.0"


def test_a_file_larger_than_the_disk_is_refused_before_it_is_copied(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.drop(release(needs_bytes=1 << 33))
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((4096, 4096, 0, 0, 100_000, 0, 0, 0, 0, 255)))
    box.machine().work()
    ((result, why),) = box.reports()
    assert (result, str(why).endswith("390 MB are free, wanted 8256 MB")) == ("refused", True)
    box.whole()


def with_units(box: Box, **named: str) -> Callable[[Path, Path, str], None]:
    """A release whose wheels bring these units; the old one has a.service and old.timer, put there by provisioning."""
    old = {"a.service": "old\n[Install]\n", "old.timer": "old"}
    share = box.places.releases / "0.1.0" / "share" / "gateway-agent" / "systemd"
    units = box.places.system / "etc/systemd/system"
    for folder in (share, units):
        folder.mkdir(parents=True)
        for name, text in old.items():
            (folder / name).write_text(text)
    box.places.units_list.write_text("".join(f"/etc/systemd/system/{name}\n" for name in old))

    def install(payload: Path, release: Path, version: str) -> None:
        share = release / "share" / "gateway-agent" / "systemd"
        share.mkdir(parents=True)
        for name, text in named.items():
            (share / name.replace("_", ".")).write_text(text)

    return install


def placed(box: Box) -> dict[str, str]:
    paths = [path for path in box.places.system.rglob("*") if path.is_file()]
    listed = box.places.units_list.read_text().splitlines()
    assert sorted(listed) == sorted(f"/{path.relative_to(box.places.system)}" for path in paths)
    return {path.name: path.read_text() for path in paths}


def test_the_units_of_a_release_come_with_it(box: Box) -> None:
    install = with_units(box, a_service="new\n[Install]\n", b_path="b\n", udev_rules="u\n", note_txt="no unit")
    box.drop(release())
    box.machine(install=install).work()
    assert placed(box) == {"a.service": "new\n[Install]\n", "b.path": "b\n", "60-gateway-agent.rules": "u\n"}
    units = "/etc/systemd/system"
    changed = [
        f"{units}/a.service",
        f"{units}/b.path",
        "/etc/udev/rules.d/60-gateway-agent.rules",
        f"{units}/old.timer",
    ]
    assert box.reloads == [(changed, ["a.service"])]


def test_the_units_of_a_release_go_with_it(box: Box) -> None:
    box.works = lambda: None if box.version == "0.2.0" else {}
    install = with_units(box, a_service="new\n", b_path="b\n")
    box.drop(release())
    box.machine(install=install).work()
    assert placed(box) == {"a.service": "old\n[Install]\n", "old.timer": "old"}
    assert len(box.reloads) == 2


def test_units_that_cannot_be_put_in_place_end_the_trial_and_not_the_box(box: Box) -> None:
    install = with_units(box, a_service="new\n")

    def reload(changed: Sequence[str], enable: Sequence[str]) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    box.reload = reload  # type: ignore[method-assign]
    box.drop(release())
    box.machine(install=install).work()
    assert box.reports()[-1] == (
        "rolled-back",
        "its units cannot be put in place: [Errno 30] Read-only file system",
    )
    assert (box.version, box.starts) == ("0.1.0", 1)


# ---- what is refused is reported, and gone from the inbox ------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(release(version="0.0.9"), "version 0.0.9 is older than 0.1.0, which is installed", id="replayed"),
        pytest.param(release(expires="2027-01-02T00:00:00Z"), "it has expired on 2027-01-02", id="expired"),
        pytest.param(update_file({"a.whl": b"x"}, "mallory", "anh"), "signed by 1 key(s)", id="wrongly signed"),
        pytest.param(release()[:3000], "it is cut off", id="truncated"),
        pytest.param(release().replace(b"agent 0.2.0", b"agent 6.6.6"), "damaged or was changed", id="tampered with"),
        pytest.param(release(machine="riscv64"), "it is for riscv64", id="another board"),
        pytest.param(b"", "no update file, or damaged", id="empty"),
    ],
)
def test_a_bad_file_is_refused_with_the_reason_and_the_next_one_taken(box: Box, content: bytes, why: str) -> None:
    box.drop(content, "a.gwu")
    box.drop(release(), "b.gwu")
    box.machine().work()
    (first, reason), *others = box.reports()
    assert first == "refused"
    assert why in str(reason) or (not content and "cut off" in str(reason))
    assert [result for result, _ in others] == ["accepted", "confirmed"]
    assert box.starts == 1
    box.whole()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "link in the way", "odd name"])
def test_nothing_in_the_services_inbox_leads_root_anywhere(box: Box, tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret.gwu"
    secret.write_bytes(release())
    inbox = box.places.agent_inbox
    if kind == "link":
        (inbox / "x.gwu").symlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(inbox / "x.gwu")
    elif kind == "folder":
        (inbox / "x.gwu" / "y").mkdir(parents=True)
    elif kind == "odd name":
        (Path(os.fsdecode(os.fsencode(inbox) + b"/\xff\n\x1b[2J.gwu"))).write_bytes(b"")
    else:
        inbox.rmdir()
        (tmp_path / "elsewhere").mkdir()
        shutil.copy(secret, tmp_path / "elsewhere" / "x.gwu")
        inbox.symlink_to(tmp_path / "elsewhere")
    box.machine().work()
    assert secret.exists()
    assert [result for result, _ in box.reports()] == ([] if kind == "link in the way" else ["refused"])
    if kind == "link in the way":
        assert (tmp_path / "elsewhere" / "x.gwu").exists()
    else:
        assert list(inbox.iterdir()) == []
        assert "\x1b" not in state.load(box.places.state).reports[0].file


def test_a_file_that_the_updater_never_comes_to_the_end_of_is_given_up(box: Box) -> None:
    class Killed(BaseException):
        pass

    def install(payload: Path, release: Path, version: str) -> None:
        release.mkdir()
        raise Killed

    box.drop(release())
    for _ in range(3):
        with pytest.raises(Killed):
            box.machine(install=install).work()
    box.machine(install=install).work()
    assert "was begun 3 times" in str(box.reports()[-1][1])
    box.whole()


# ---- clock -----------------------------------------------------------------------------------------------------------


def test_without_a_clock_an_update_is_taken_and_every_report_says_so(box: Box) -> None:
    box.clock.is_trusted = False
    box.drop(release())
    box.machine().work()
    assert box.reports() == [("accepted", UNSET), ("confirmed", UNSET)]


def test_without_a_clock_the_latest_time_that_was_known_still_counts(box: Box) -> None:
    box.machine().work()  # the clock is set: the time is remembered
    box.clock.is_trusted, box.clock.wall_ms = False, 0
    box.drop(release(expires="2027-01-02T00:00:00Z"))
    box.machine().work()
    assert "it has expired" in str(box.reports()[-1][1])


def test_without_a_clock_it_is_later_than_what_was_installed_was_made(box: Box) -> None:
    box.clock.is_trusted = False
    box.drop(release("0.2.0", created="2027-03-01T00:00:00Z"))
    box.machine().work()
    box.drop(release("0.3.0", expires="2027-02-01T00:00:00Z"))
    box.machine().work()
    assert "it has expired" in str(box.reports()[-1][1])


# ---- interruptions that need no process ------------------------------------------------------------------------------


def test_a_trial_that_nobody_watched_to_its_end_is_rolled_back_at_boot_before_the_service_starts(box: Box) -> None:
    class PowerCut(BaseException):
        pass

    def cut(seconds: float) -> None:
        raise PowerCut

    box.drop(release())
    machine = box.machine()
    box.clock.sleep = cut  # type: ignore[method-assign]
    with pytest.raises(PowerCut):
        machine.work()
    assert box.version == "0.2.0"
    starts = box.starts
    box.machine().recover()
    assert (box.version, box.starts) == ("0.1.0", starts)
    assert box.reports() == [("rolled-back", INTERRUPTED)]
    box.whole()


def test_a_current_release_that_nobody_proved_is_put_back_though_the_state_is_lost(box: Box) -> None:
    (box.places.releases / "0.2.0").mkdir()
    box.places.current.unlink()
    box.places.current.symlink_to("releases/0.2.0")
    box.places.update.mkdir()
    box.places.state.write_bytes(b"\0" * 100)
    box.machine().recover()
    assert box.version == "0.1.0"
    assert box.places.state.with_name("state.json.damaged").exists()


def test_a_lost_state_does_not_let_an_older_release_in(box: Box) -> None:
    box.drop(release())
    box.machine().work()
    box.places.state.unlink()
    box.drop(release("0.1.5"))
    box.machine().work()
    assert box.reports() == [("refused", "version 0.1.5 is older than 0.2.0, which is installed")]


def test_a_release_that_somebody_is_putting_there_is_left_alone(box: Box) -> None:
    (box.places.releases / "0.9.0").mkdir()
    box.machine().work()
    box.machine().adopt("0.9.0")
    assert (box.version, link_target(box.places.previous)) == ("0.9.0", "releases/0.1.0")
    box.whole()


def test_two_updaters_do_not_get_in_each_others_way(box: Box) -> None:
    def install(payload: Path, release: Path, version: str) -> None:
        with pytest.raises(GatewayError, match="another update is under way"):
            box.machine().work()
        shutil.copytree(payload, release)

    box.drop(release())
    box.machine(install=install).work()
    assert box.reports()[-1][0] == "confirmed"


# ---- by hand ---------------------------------------------------------------------------------------------------------


def test_apply_takes_a_file_from_anywhere_and_leaves_it_there(box: Box, tmp_path: Path) -> None:
    file = tmp_path / "x.gwu"
    file.write_bytes(release())
    assert box.machine().apply(file).result == "confirmed"
    assert file.exists()
    box.whole()


def test_apply_goes_back_to_an_older_release_where_all_agree(box: Box, tmp_path: Path) -> None:
    for version in ("0.2.0", "0.3.0"):
        box.drop(release(version))
        box.machine().work()
    file = tmp_path / "x.gwu"
    file.write_bytes(release("0.2.0", allow_downgrade=True))
    assert box.machine().apply(file).result == "refused"
    assert box.machine().apply(file, downgrade=True).result == "confirmed"
    assert (box.version, link_target(box.places.previous)) == ("0.2.0", "releases/0.3.0")
    box.whole()


def test_judge_says_what_would_be_done_and_changes_nothing(box: Box, tmp_path: Path) -> None:
    file = tmp_path / "x.gwu"
    file.write_bytes(release())
    assert box.machine().judge(file).signers == ("anh", "binh")
    assert not box.places.update.exists()


def test_a_dropped_file_has_its_name_only_when_it_is_whole(box: Box, tmp_path: Path) -> None:
    file = tmp_path / "x.gwu"
    file.write_bytes(release())
    assert drop(file, box.places.inbox).read_bytes() == release()
    box.machine().work()
    assert box.version == "0.2.0"
    assert list(box.places.inbox.iterdir()) == []


def test_the_first_release_of_a_box_is_adopted(tmp_path: Path) -> None:
    box = Box(tmp_path)
    for link in (box.places.current, box.places.proven):
        link.unlink()
    with pytest.raises(UpdateRefused, match="is not there"):
        box.machine().adopt("0.2.0")
    (box.places.releases / "0.1.0").mkdir(exist_ok=True)
    box.machine().adopt("0.1.0")
    box.machine().recover()
    assert box.version == "0.1.0"
    box.whole()


# ---- the other kinds -------------------------------------------------------------------------------------------------

NEW_CONFIG = CONFIG.replace("rtsp://10.0.0.1/s", "rtsp://10.0.0.2/s")


def config(text: str = NEW_CONFIG, version: str = "1") -> bytes:
    return update_file({"gateway.toml": text.encode()}, "anh", kind="config", version=version)


def test_a_configuration_that_works_replaces_the_old_one_with_its_rights(box: Box) -> None:
    box.drop(config())
    box.machine().work()
    assert box.reports() == [("accepted", None), ("confirmed", None)]
    assert box.places.config.read_text() == NEW_CONFIG
    assert stat.S_IMODE(box.places.config.stat().st_mode) == 0o640
    box.whole()


def test_a_configuration_with_which_a_camera_is_lost_is_rolled_back(box: Box) -> None:
    def works() -> dict[str, Any]:
        is_new = box.places.config.read_text() == NEW_CONFIG
        return {"camera": {"state": "opening"}} if is_new else {}

    box.works = works
    box.drop(config())
    box.machine().work()
    assert box.reports()[-1][1] == "not healthy within 60 s: camera cam is opening: no picture yet"
    assert box.places.config.read_text() == CONFIG
    assert box.starts == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param(CONFIG + "typo = 1\n", "unknown key", id="wrong"),
        pytest.param(
            CONFIG.replace("gw-01", "gw-02"), "of box cua-bac/gw-02; this one is cua-bac/gw-01", id="another's"
        ),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused(box: Box, text: str, why: str) -> None:
    box.drop(config(text))
    box.machine().work()
    ((result, reason),) = box.reports()
    assert (result, why in str(reason)) == ("refused", True)
    assert (box.places.config.read_text(), box.starts) == (CONFIG, 0)


def test_an_older_configuration_is_refused(box: Box) -> None:
    box.drop(config(version="7"))
    box.machine().work()
    box.drop(config(CONFIG, version="6"))
    box.machine().work()
    assert box.reports()[-1] == ("refused", "version 6 is older than 7, which is installed")


def pack(version: str) -> bytes:
    folder = MODELS / "ssdlite-mobilenet-v2-coco-300-int8"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    files["manifest.toml"] = files["manifest.toml"].replace(b'version = "1.0.0"', f'version = "{version}"'.encode())
    return update_file(files, kind="pack", name=folder.name, version=version)


def test_a_pack_is_found_under_its_name_and_put_back_if_it_does_no_good(box: Box) -> None:
    name = "ssdlite-mobilenet-v2-coco-300-int8"
    box.drop(pack("1.0.1"))
    box.machine().work()
    assert box.reports()[-1] == ("confirmed", None)
    manifest = box.places.packs / name / "manifest.toml"
    assert 'version = "1.0.1"' in manifest.read_text()

    box.works = lambda: {"looked_ms": None} if "1.0.2" in manifest.read_text() else {}
    box.drop(pack("1.0.2"))
    box.machine().work()
    assert box.reports()[-1][0] == "rolled-back"
    assert 'version = "1.0.1"' in manifest.read_text()
    assert [folder.name for folder in box.places.pack_versions.iterdir()] == [f"{name}-1.0.1"]


def test_the_first_pack_of_a_name_is_taken_away_again_if_it_does_no_good(box: Box) -> None:
    name = "ssdlite-mobilenet-v2-coco-300-int8"
    box.works = lambda: {"looked_ms": None} if (box.places.packs / name).exists() else {}
    box.drop(pack("1.0.1"))
    box.machine().work()
    assert box.reports()[-1][0] == "rolled-back"
    assert list(box.places.packs.iterdir()) == []


def test_a_pack_that_is_not_what_it_says_is_refused(box: Box) -> None:
    box.drop(update_file({"manifest.toml": b"name = 1"}, kind="pack", name="x", version="1"))
    box.machine().work()
    ((result, reason),) = box.reports()
    assert (result, "model pack" in str(reason)) == ("refused", True)


def test_new_keys_replace_the_old_ones(box: Box) -> None:
    text = trust_text("binh", "chi", "dung", version=2)
    box.drop(update_file({"trust.toml": text.encode()}, "binh", "chi", kind="trust", version="2"))
    box.machine().work()
    assert box.places.trust.read_text() == text
    assert (box.reports(), box.starts) == ([("confirmed", None)], 0)
    box.drop(update_file({"a.whl": b"x"}, "anh", "binh"))
    box.machine().work()
    assert box.reports()[-1] == (
        "refused",
        f"signed by 1 key(s) that {box.places.trust} lets sign a release (binh); wanted 2 of binh, chi, dung",
    )


def test_without_a_trust_file_nothing_is_taken(box: Box) -> None:
    box.places.trust.unlink()
    box.drop(release())
    box.machine().work()
    assert "it comes with provisioning" in str(box.reports()[-1][1])


def test_the_state_is_json_that_anybody_may_read_and_root_alone_write(box: Box) -> None:
    box.drop(release())
    box.machine().work()
    assert json.loads(box.places.state.read_text())["installed"] == {"release:gateway-agent": "0.2.0"}
    assert stat.S_IMODE(box.places.state.stat().st_mode) == 0o644
