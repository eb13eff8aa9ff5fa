"""A bare box with internet, provisioned from a checkout: no bundle, packages from Debian and Python's registry."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.provision import bundles
from tests.provision.box import Box
from tests.provision.city import City
from tests.support.traffic import write_traffic
from tests.systemd.root import why_not

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=why_not() or "")]

# How this machine reaches its registry, where that takes more than the defaults: an authority of the network's own.
_PIP = Path("/etc/pip.conf")
_AUTHORITIES = Path("/usr/local/share/ca-certificates")


class OnlineBox(Box):
    nspawn = ()  # this machine's network
    script = "/media/checkout/provisioning/provision.sh"


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    with City(tmp_path / "city") as city:
        city.found("file:/media/road.mp4")
        yield city


@pytest.fixture
def box(tmp_path: Path, city: City) -> Iterator[OnlineBox]:
    with OnlineBox(tmp_path / "box") as box:
        box.make()
        bundles.copy_tree(box.root / "media/checkout")
        for name in ("gateway.toml", "ca.pem", "token", "server"):
            box.carry(city.card / name, f"card/{name}")
        box.carry(write_traffic(tmp_path / "road.mp4", 10), "road.mp4")
        if _PIP.exists():
            shutil.copy2(_PIP, box.root / "etc/pip.conf")
        if _AUTHORITIES.exists():
            shutil.copytree(_AUTHORITIES, box.root / _AUTHORITIES.relative_to("/"), dirs_exist_ok=True)
        box.boot()
        city.connect(box.systemd_pid)
        city.open()
        yield box


def test_from_a_checkout_and_the_internet_to_the_first_alert(
    box: OnlineBox, city: City, capsys: pytest.CaptureFixture[str]
) -> None:
    began_s = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    said = box.provision("--card", "/media/card", environment=environment)
    assert said.code == 0, f"\n{said}"
    came_s, alert = city.wait_for(began_s, 60, kind="crossing")
    assert alert["topic"] == "gw/v1/cua-bac/gw-01/alert/north"
    with capsys.disabled():
        print(f"\n{said.words}\nfirst alert after {came_s - began_s:.0f} s")
