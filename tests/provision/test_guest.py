"""One box's life, in order: bare, installed, installed again, misconfigured, upgraded, reset, gone. Each test goes on
where the one before has left the box."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.provision import bundles
from tests.provision.box import Box
from tests.provision.city import BROKER, PORT, City
from tests.support.traffic import write_traffic
from tests.systemd.root import why_not

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=why_not() or "")]

DATA = "var/lib/gateway-agent"
ALERT_S = 300.0  # what is promised; how long it took is printed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("provision")


@pytest.fixture(scope="module")
def city(folder: Path) -> Iterator[City]:
    with City(folder / "city") as city:
        yield city


@pytest.fixture(scope="module")
def box(folder: Path, city: City) -> Iterator[Box]:
    city.found("file:/media/road.mp4")
    config = (city.card / "gateway.toml").read_text()
    (folder / "bad.toml").write_text(config.replace("[[camera]]", '[[camera]]\nsorce = "x"'))
    bundle = bundles.make(folder / "first", debian="bookworm")
    with Box(folder / "box") as box:
        box.make()
        box.carry(bundle, "first.bundle")
        box.carry(bundles.damaged(bundle, folder / "damaged.bundle"), "damaged.bundle")
        box.carry(bundles.TOP / "provisioning" / "provision.sh", "provision.sh")
        for name in ("gateway.toml", "ca.pem", "token", "server"):
            box.carry(city.card / name, f"card/{name}")
        box.carry(folder / "bad.toml", "bad.toml")
        box.carry(write_traffic(folder / "road.mp4", 10), "road.mp4")
        box.boot()
        city.connect(box.systemd_pid)
        city.open()
        yield box


@pytest.fixture(scope="module")
def bare(box: Box) -> dict[str, str]:
    """What was on the disk before anything of ours."""
    return box.files()


INSTALL = ("--offline", "/media/first.bundle", "--card", "/media/card")


def test_a_dry_run_says_what_it_would_do_and_does_nothing(box: Box, bare: dict[str, str]) -> None:
    said = box.provision("--dry-run", *INSTALL)
    assert said.code == 0, said
    assert "nothing was changed" in said.words
    assert said.steps.count("would") >= 8, said
    assert box.files() == bare


def test_a_damaged_bundle_is_refused_and_leaves_nothing(box: Box, bare: dict[str, str]) -> None:
    said = box.provision("--offline", "/media/damaged.bundle", "--card", "/media/card")
    assert said.code == 1
    assert "is damaged; copy it again" in said.words
    assert box.files() == bare


def test_from_a_bare_debian_to_the_first_alert_with_one_command_and_no_internet(
    box: Box, city: City, bare: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert box.ask("sh", "-c", "command -v python3").returncode != 0, "the box is not bare"
    began_s = time.monotonic()
    said = box.provision(*INSTALL)
    installed_s = time.monotonic() - began_s
    assert said.code == 0, said
    came_s, alert = city.wait_for(began_s, ALERT_S - installed_s, kind="crossing")
    assert (alert["line"], alert["topic"]) == ("gate", "gw/v1/cua-bac/gw-01/alert/north")
    with capsys.disabled():
        print(f"\n{said.words}\ninstalled after {installed_s:.0f} s, first alert after {came_s - began_s:.0f} s")


def test_the_report_of_it_arrives_and_is_kept(box: Box, city: City) -> None:
    _, said = city.wait_for(0, 60, kind="commissioned")
    assert said["problems"] == 0
    assert {"camera north", f"broker {BROKER}:{PORT}", "clock"} <= {check["name"] for check in said["checks"]}
    picture = said["pictures"]["north"]["id"]
    city.wait_for(0, 60, topic=f"gw/v1/cua-bac/gw-01/evidence/{picture}")
    page = (box.root / DATA / "commissioning/report.html").read_text()
    assert "data:image/jpeg;base64," in page
    assert "camera north: fine" in page


def test_files_belong_to_whom_they_should(box: Box) -> None:
    names = "/etc/gateway-agent/gateway.toml /etc/gateway-agent/credentials /var/lib/gateway-agent"
    assert box.run("stat", "-c", "%n %a %U:%G", *names.split()).splitlines() == [
        "/etc/gateway-agent/gateway.toml 640 root:gateway-agent",
        "/etc/gateway-agent/credentials 750 root:gateway-agent",
        "/var/lib/gateway-agent 700 gateway-agent:gateway-agent",
    ]
    assert box.run("find", "/opt/gateway-agent", "/etc/gateway-agent", "-perm", "/022", "!", "-type", "l") == ""
    assert box.show("User") == "gateway-agent"


def test_the_box_has_a_certificate_and_its_key_never_left_it(box: Box) -> None:
    said = box.run("runuser", "-u", "gateway-agent", "--", "/usr/local/bin/gateway-agent", "identity", "show")
    assert "identity: cua-bac/gw-01, certified by" in said
    assert box.run("stat", "-c", "%a %U", f"/{DATA}/identity/box.pem").strip() == "600 gateway-agent"
    assert not (box.root / DATA / ".token").exists()
    token = (box.root / "media/card/token").read_text().strip()
    assert token not in box.run("journalctl", "--no-pager", "--output=export")


def test_a_second_run_changes_nothing(box: Box) -> None:
    before, pid = box.files(contents=True), box.main_pid()
    said = box.provision(*INSTALL)
    assert said.code == 0, said
    assert set(said.steps) == {"ok"}, said
    after = box.files(contents=True)
    served = (f"{DATA}/", DATA)  # the service is at work meanwhile
    assert {path for path in before if not path.startswith(served) and after.get(path) != before[path]} == set()
    assert {path for path in after.keys() - before.keys() if not path.startswith(served)} == set()
    assert box.main_pid() == pid, "the service was started anew"


def test_what_was_drawn_on_the_spot_stays_and_is_read_when_it_is_run_again_with_the_card(box: Box) -> None:
    config, pid = box.root / "etc/gateway-agent/gateway.toml", box.main_pid()
    drawn = config.read_text().replace('id = "gate"', 'id = "gate"\n  anchor = "center"')
    time.sleep(1.1)  # whole seconds are compared
    config.write_text(drawn)
    said = box.provision(*INSTALL)
    assert said.code == 0, said
    assert config.read_text() == drawn
    assert "newer than the service" in said.words
    assert box.main_pid() != pid
    assert set(box.provision(*INSTALL).steps) == {"ok"}


def test_an_older_list_of_keys_does_not_replace_a_newer_one(box: Box, folder: Path) -> None:
    keys = box.root / "etc/gateway-agent/trust.toml"
    for version, kept in ((3, 3), (2, 3), (4, 4)):
        (folder / "trust.toml").write_text(f"version = {version}\n")
        said = box.provision(*INSTALL, "--trust", box.carry(folder / "trust.toml", "trust.toml"))
        assert said.code == 0, said
        assert keys.read_text() == f"version = {kept}\n"
    assert box.run("stat", "-c", "%a %U:%G", "/etc/gateway-agent/trust.toml").strip() == "644 root:root"


def test_it_speaks_vietnamese(box: Box) -> None:
    said = box.provision(*INSTALL, language="vi_VN.UTF-8")
    assert said.code == 0
    assert "không có gì phải làm: mọi thứ đã đúng" in said.words


def test_a_wrong_configuration_is_refused_with_its_key_and_what_runs_is_not_touched(box: Box) -> None:
    config, pid = (box.root / "etc/gateway-agent/gateway.toml").read_text(), box.main_pid()
    said = box.provision("--offline", "/media/first.bundle", "--config", "/media/bad.toml")
    assert said.code == 78
    assert "camera[1].sorce: unknown key; did you mean 'source'?" in said.words
    assert (box.root / "etc/gateway-agent/gateway.toml").read_text() == config
    assert box.main_pid() == pid


def test_a_newer_bundle_is_an_upgrade(box: Box, city: City, folder: Path) -> None:
    box.carry(bundles.make(folder / "second", version="7.1"), "second.bundle")
    began_s = time.monotonic()
    said = box.provision("--offline", "/media/second.bundle")
    assert said.code == 0, said
    assert box.version() == "7.1"
    city.wait_for(began_s, 60, topic="gw/v1/cua-bac/gw-01/state", agent="7.1", online=True)
    city.wait_for(began_s, 60, kind="crossing")
    links = {
        name: box.run("readlink", f"/opt/gateway-agent/{name}").strip() for name in ("current", "proven", "previous")
    }
    first = bundles.TOP / "agent" / "__init__.py"
    assert links == {
        "current": "releases/7.1",
        "proven": "releases/7.1",
        "previous": f"releases/{first.read_text().split('__version__ = ')[1].split(chr(34))[1]}",
    }


def test_a_release_that_does_not_start_is_taken_back(box: Box, city: City, folder: Path) -> None:
    box.carry(bundles.make(folder / "broken", version="7.2", broken=True), "broken.bundle")
    began_s = time.monotonic()
    said = box.provision("--offline", "/media/broken.bundle")
    assert said.code == 1
    assert "version 7.2 does not start, see above; 7.1 runs again" in said.words
    assert box.version() == "7.1"
    city.wait_for(began_s, 90, kind="crossing")


def test_the_same_version_with_other_contents_is_refused(box: Box, folder: Path) -> None:
    box.carry(bundles.make(folder / "other", version="7.1", broken=True), "other.bundle")
    said = box.provision("--offline", "/media/other.bundle")
    assert said.code == 1
    assert "version 7.1 is installed already, with other contents" in said.words
    assert box.show("ActiveState") == "active"


@pytest.fixture(scope="module")
def epoch() -> list[int]:
    """Of the ledger before the reset."""
    return []


def test_a_factory_reset_forgets_the_place_and_keeps_the_installation(box: Box, epoch: list[int]) -> None:
    assert (box.root / DATA / "identity/box.pem").exists()
    login = box.root / "etc/gateway-agent/credentials/north.toml"
    login.write_text('user = "viewer"\npassword = "secret"\n')
    epoch.append(_epoch(box))
    asked = box.provision("--factory-reset")
    assert asked.code == 64, "nobody was asked"
    said = box.provision("--factory-reset", "--yes")
    assert said.code == 0, said
    assert list((box.root / DATA).iterdir()) == []
    assert not login.exists()
    assert not (box.root / "etc/gateway-agent/gateway.toml").exists()
    assert box.show("ActiveState") == "inactive"
    assert box.version() == "7.1"
    spent = box.provision("--offline", "/media/second.bundle", "--card", "/media/card")
    assert spent.code == 1, "a token was good twice"
    assert "the authority refuses" in spent.words
    assert box.show("ActiveState") == "active", "without a certificate it watches and stores"
    (box.root / "etc/gateway-agent/gateway.toml").unlink()


def test_where_nobody_can_be_asked_it_says_what_is_missing(box: Box) -> None:
    said = box.provision("--offline", "/media/second.bundle")
    assert said.code == 64
    assert "nobody to ask; missing: --site --box --broker" in said.words
    assert not (box.root / "etc/gateway-agent/gateway.toml").exists()


def test_at_a_terminal_it_asks_for_the_rest_and_the_box_is_at_work_in_a_new_ledger(
    box: Box, city: City, epoch: list[int]
) -> None:
    (box.root / "media/card/token").write_text(city.new_token())
    enrol = ["--enrol", f"https://{BROKER}:8443", "--token-file", "/media/card/token", "--ca", "/media/card/ca.pem"]
    began_s = time.monotonic()
    said = box.provision_by_hand(
        ["cua-bac", "gw-01", f"{BROKER}:{PORT}"],
        *("--offline", "/media/second.bundle", "--camera", "file:/media/road.mp4", *enrol),
    )
    assert said.code == 0, said
    assert said.words.count("the gateway's place") == 1
    city.wait_for(began_s, 60, topic="gw/v1/cua-bac/gw-01/state", online=True)
    assert _epoch(box) != epoch[0], "a box that was reset goes on in the old ledger"


def _epoch(box: Box) -> int:
    # Closed, or the box's disk could not be taken away at the end.
    with closing(sqlite3.connect(f"file:{box.root / DATA / 'outbox.db'}?mode=ro", uri=True)) as database:
        ((epoch,),) = database.execute("select epoch from ledger limit 1").fetchall()
        return int(epoch)


def test_uninstalling_asks_about_the_data_or_is_told(box: Box) -> None:
    said = box.provision("--uninstall")
    assert said.code == 64
    assert "--keep-data or --delete-data" in said.words
    assert box.show("ActiveState") == "active"


def test_uninstalling_with_the_data_kept_keeps_them_and_nothing_else(box: Box) -> None:
    said = box.provision("--uninstall", "--keep-data")
    assert said.code == 0, said
    assert (box.root / DATA / "outbox.db").exists()
    assert (box.root / "etc/gateway-agent/gateway.toml").exists()
    assert not (box.root / "opt/gateway-agent").exists()
    again = box.provision("--offline", "/media/first.bundle")
    assert again.code == 0, again
    assert box.show("ActiveState") == "active"


def test_uninstalled_it_leaves_nothing(box: Box, bare: dict[str, str]) -> None:
    said = box.provision("--uninstall", "--delete-data")
    assert said.code == 0, said
    after = box.files()
    assert sorted(after.keys() - bare.keys()) == []
    assert sorted(bare.keys() - after.keys()) == []
    assert {path: (bare[path], after[path]) for path in bare if after[path] != bare[path]} == {}
    assert "gateway-agent" not in (box.root / "etc/passwd").read_text() + (box.root / "etc/group").read_text()
    assert box.ask("systemctl", "list-unit-files", "gateway-agent*", "--no-legend").stdout == ""


def test_what_is_gone_can_be_uninstalled_again(box: Box) -> None:
    said = box.provision("--uninstall", "--delete-data")
    assert said.code == 0
    assert "not installed" in said.words
