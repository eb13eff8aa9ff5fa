"""No secret leaves the place where it is kept: not by a command line, an environment, a log, a message, or a bundle.

Every kind of secret that a box has is planted, the real agent is run with them against real servers, and everything
that can be seen from outside is searched for each of them in each form.
"""

from __future__ import annotations

import gzip
import ipaddress
import json
import os
import subprocess
import tarfile
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from cryptography import x509
from pydantic import BaseModel

from agent.config import Config, _model_in
from agent.config_sensors import DRIVERS
from agent.uplink.settings import Broker, Login, Tls
from tests.support.authority import Authority
from tests.support.command import BOX, Agent, broker_lines, eventually, gateway_agent
from tests.support.consumer import Consumer
from tests.support.http_camera import HttpCameraServer
from tests.support.mosquitto import PROGRAM, Mosquitto
from tests.support.rtsp import RtspServer, skip_without_gstreamer

if PROGRAM is None:
    pytest.skip("no mosquitto; apt-get install mosquitto", allow_module_level=True)
skip_without_gstreamer()

HERE = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))

SECRETS = {
    "camera": "cam/Pä55 w@rd",
    "wrong camera password": "n0t-the-right-one",
    "login in an address": "snap shot&7%",
    "part of an address": "QWxhZGRpbjpvcGVu",
    "broker": "br0ker=geheim",
    "environment": "env-t0ken-9f8a",
    "systemd credential": "creds-d1r-secret",
    "option of a library": "0pti0n-secret",
    "comment": "c0mment-secret",
}
# Of these no program knows that they are secrets; they look like some.
STRANGERS = {
    "login in a log": "str4nger-pass",
    "assignment in a log": "assigned-s3cret",
    "header in a log": "aGVhZGVyOnMzY3JldA==",
    "key in a log": "MHcCAQEEIIstrangerskeyAAoGCCqGSM49AwEHoUQD",
}
JOURNAL = f"""2026-01-31T12:00:00+0700 gw gateway-agent[7]: open rtsp://viewer:{STRANGERS["login in a log"]}@10.0.0.21/s
2026-01-31T12:00:01+0700 gw gateway-agent[7]: open rtsp://viewer:{quote(SECRETS["camera"], safe="")}@127.0.0.1/s
2026-01-31T12:00:02+0700 gw gateway-agent[7]: password = "{STRANGERS["assignment in a log"]}"
2026-01-31T12:00:03+0700 gw gateway-agent[7]: Authorization: Basic {STRANGERS["header in a log"]}
2026-01-31T12:00:04+0700 gw gateway-agent[7]: Basic {b64encode(f"viewer:{SECRETS['camera']}".encode()).decode()}
2026-01-31T12:00:05+0700 gw gateway-agent[7]: {json.dumps({"said": SECRETS["broker"], "env": SECRETS["environment"]})}
-----BEGIN EC PRIVATE KEY-----
{STRANGERS["key in a log"]}
-----END EC PRIVATE KEY-----
2026-01-31T12:00:06+0700 gw gateway-agent[7]: the last line
"""


class Box:
    """A folder with everything that a box has, secrets in every place where one can be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rtsp = RtspServer(login=f"viewer:{SECRETS['camera']}")
        self.web = HttpCameraServer()
        self.city = Authority(folder / "city", "city")
        self.pair = self.city.issue("box")
        server = self.city.issue("broker", HERE)
        passwords = folder / "passwords"
        subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "gw", SECRETS["broker"]], check=True)
        passwords.chmod(0o644)
        self.broker = Mosquitto(
            folder / "broker",
            listener=[
                *(f"cafile {self.city.file}", f"certfile {server.certificate}", f"keyfile {server.key}"),
                *("require_certificate true", "allow_anonymous false", f"password_file {passwords}"),
            ],
        )
        self.bundle = folder / "box.tar.gz"
        self.environment = {
            "UPLINK_TOKEN": SECRETS["environment"],
            "CREDENTIALS_DIRECTORY": str(folder / "systemd"),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        }
        self.config = self._write()

    def _write(self) -> Path:
        here = self.folder
        for folder in ("systemd", "bin", "identity"):
            (here / folder).mkdir()
        (here / "systemd" / "token").write_text(SECRETS["systemd credential"])
        (here / "journal").write_text(JOURNAL)
        (here / "bin" / "journalctl").write_text(f"#!/bin/sh\ncat {here}/journal\n")
        (here / "bin" / "journalctl").chmod(0o755)
        # The identity that `identity enrol` would have left.
        (here / "identity" / "box.pem").write_bytes(self.pair.key.read_bytes() + self.pair.certificate.read_bytes())
        text = f'{BOX}identity = "{here}/identity"\n# the camera: {SECRETS["comment"]}\n'
        text += f'[outbox]\npath = "{here}/outbox.db"\nmax_mb = 64\nalert_reserve_mb = 16\n[health]\ninterval_s = 1\n'
        text += f'[detector]\ndelegate_options = {{ licence = "{SECRETS["option of a library"]}" }}\n'
        text += f'[uplink]\nusername = "gw"\npassword_file = "{self._secret("broker.secret", SECRETS["broker"])}"\n'
        text += f'[[broker]]\n{broker_lines(self.broker.port)}\nca_file = "{self.city.file}"\n'
        text += f'cert_file = "{self.pair.certificate}"\nkey_file = "{self.pair.key}"\n'
        web = f"http://127.0.0.1:{self.web.port}"
        cameras = {
            "rtsp": (self.rtsp.url(), "camera"),
            "wrong": (self.rtsp.url(), "wrong camera password"),
            "snapshot": (f"snapshot:{web}/image.jpg?usr={{user}}&pwd={{password}}", "login in an address"),
            "mjpeg": (f"{web}/mjpg?auth={SECRETS['part of an address']}", None),
        }
        for name, (source, secret) in cameras.items():
            text += f'[[camera]]\nid = "{name}"\nsource = "{source}"\nfps = 2\n'
            if secret is not None:
                login = self._secret(f"{name}.toml", f'user = "viewer"\npassword = "{SECRETS[secret]}"\n')
                text += f'credentials_file = "{login}"\n'
        path = here / "gateway.toml"
        path.write_text(text)
        return path

    def _secret(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text)
        return path

    def keys(self) -> dict[str, str]:
        """Lines of the box's private key: each is enough to know some of it."""
        lines = [line for line in self.pair.key.read_text().splitlines() if not line.startswith("-")]
        return {f"key, line {number}": line for number, line in enumerate(lines)}


def seen(where: Mapping[str, bytes], secrets: Mapping[str, str]) -> list[str]:
    """Which secrets can be read where, in any form."""
    found = []
    for name, secret in secrets.items():
        forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), json.dumps(secret)[1:-1]}
        forms |= {b64encode(f"{user}{secret}".encode()).decode().rstrip("=")[:-1] for user in ("", "viewer:", "gw:")}
        found += [f"{name} in {place}" for place, data in where.items() for form in forms if form.encode() in data]
    return found


def family(pid: int) -> Iterator[int]:
    """The process and all that it has started, in any generation."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from family(int(child))


def listening(pids: set[int]) -> list[str]:
    """Local addresses, as the kernel writes them, at which one of the processes takes connections or datagrams."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes.add(os.readlink(link))
            except OSError:  # closed meanwhile
                continue
    found = []
    for table, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == state and f"socket:[{fields[9]}]" in inodes:
                found.append(f"{table} {fields[1]}")
    return found


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    box = Box(tmp_path_factory.mktemp("box"))
    with box.rtsp, box.web, box.broker:
        yield box


@pytest.fixture(scope="module")
def outside(box: Box) -> dict[str, bytes]:
    """Everything that others can see of an agent at work, and of a doctor who looks at it."""
    tls = Tls(box.city.file, box.pair.certificate, box.pair.key)
    login = Login("gw", box.folder / "broker.secret")
    found: dict[str, bytes] = {}
    with (
        Consumer(Broker("127.0.0.1", box.broker.port, tls), login=login) as ioc,
        Agent(box.config, **box.environment) as agent,
    ):

        def is_at_work() -> bool:
            path = box.folder / "health.json"
            cameras = json.loads(path.read_text())["cameras"] if path.exists() else {}
            states = {name: camera["state"] for name, camera in cameras.items()}
            is_refused = bool(cameras) and "refuses the user" in (cameras["wrong"].get("error") or "")
            return is_refused and {states["rtsp"], states["snapshot"], states["mjpeg"]} == {"open"}

        assert eventually(is_at_work), agent.log()
        assert eventually(lambda: any(topic.endswith("/health") for topic, _ in list(ioc.other))), agent.log()
        pids = set(family(agent.pid))
        assert len(pids) >= 4, "each network camera that is open has a decoder of its own"
        for pid in pids:
            found[f"command line of {pid}"] = Path(f"/proc/{pid}/cmdline").read_bytes()
            if pid != agent.pid:
                found[f"environment of {pid}"] = Path(f"/proc/{pid}/environ").read_bytes()
        found["listening"] = "\n".join(listening(pids)).encode()
        doctor = gateway_agent("doctor", "--config", box.config, "--bundle", box.bundle, **box.environment)
        found["what doctor prints"] = (doctor.stdout + doctor.stderr).encode()
        found["messages"] = json.dumps([*ioc.messages, *ioc.other], ensure_ascii=False).encode()
    found["log"] = agent.log().encode()
    return found


def parts(bundle: Path) -> dict[str, bytes]:
    with tarfile.open(bundle) as tar:
        files = {member.name: tar.extractfile(member) for member in tar.getmembers()}
        return {name: file.read() for name, file in files.items() if file is not None}


def test_no_secret_is_in_a_command_line_an_environment_a_log_or_a_message(box: Box, outside: dict[str, bytes]) -> None:
    assert b"decoder_child" in b"".join(outside.values())
    assert b"refuses the user or the password" in outside["log"]
    assert seen(outside, {**SECRETS, **box.keys()}) == []


def test_no_secret_is_in_the_bundle_and_the_rest_is(box: Box, outside: dict[str, bytes]) -> None:
    found = parts(box.bundle)
    names = {name.removeprefix("gateway-agent/") for name in found}
    assert names - {"kernel.txt"} == {
        *("config.json", "doctor.json", "health.json", "journal.txt", "outbox.json", "versions.json"),
    }
    assert seen(found, {**SECRETS, **STRANGERS, **box.keys()}) == []
    assert found["gateway-agent/journal.txt"].endswith(b"the last line\n")
    assert b"10.0.0.21/s" in found["gateway-agent/journal.txt"]
    config = json.loads(found["gateway-agent/config.json"])
    assert [camera["id"] for camera in config["camera"]] == ["rtsp", "wrong", "snapshot", "mjpeg"]
    assert config["detector"]["delegate_options"] == {"licence": "…"}
    health = json.loads(found["gateway-agent/health.json"])
    assert health["cameras"]["rtsp"]["state"] == "open"
    findings = json.loads(found["gateway-agent/doctor.json"])["findings"]
    assert ("camera-login", "wrong") in {(one["kind"], one["name"]) for one in findings}


def test_what_the_tests_look_for_would_be_found(box: Box) -> None:
    """Else the two tests above would pass for a search that finds nothing."""
    raw = {"journal": JOURNAL.encode(), "config": box.config.read_bytes(), "key": box.pair.key.read_bytes()}
    found = seen(raw, {**SECRETS, **STRANGERS, **box.keys()})
    assert {one.partition(" in ")[0] for one in found} >= {
        *("camera", "part of an address", "broker", "environment", "comment", "option of a library"),
        *(*box.keys(), "key", "assignment"),
    }


@pytest.mark.parametrize("mistake", ["sorce = 1", "sorce = "], ids=["unknown key", "no TOML"])
def test_a_bundle_of_a_wrong_configuration_holds_nothing_of_the_file_nor_of_those_it_names(
    box: Box, mistake: str
) -> None:
    typed = {"typed": "typed-int0-the-file", "in an address": "als0-typed"}
    config = box.folder / "wrong.toml"
    config.write_text(
        f'{box.config.read_text()}\n[[camera]]\nid = "c"\npassword = "{typed["typed"]}"\n'
        f'source = "rtsp://viewer:{typed["in an address"]}@10.0.0.21/s"\n{mistake}\n'
    )
    (box.folder / "journal").write_text(f"{JOURNAL}{typed['typed']} {typed['in an address']}\n")
    try:
        bundle = box.folder / "wrong.tar.gz"
        run = gateway_agent("doctor", "--config", config, "--bundle", bundle, **box.environment)
    finally:
        (box.folder / "journal").write_text(JOURNAL)
    where = {**parts(bundle), "printed": (run.stdout + run.stderr).encode()}
    assert b"the configuration cannot be used" in where["printed"]
    assert seen(where, {**typed, **SECRETS, **STRANGERS, **box.keys()}) == []


def test_a_bundle_is_its_owners_alone_and_no_larger_than_it_may_be(box: Box, outside: dict[str, bytes]) -> None:
    (box.folder / "journal").write_text(JOURNAL * 20_000)
    try:
        bundle = box.folder / "large.tar.gz"
        gateway_agent("doctor", "--config", box.config, "--bundle", bundle, **box.environment)
    finally:
        (box.folder / "journal").write_text(JOURNAL)
    assert bundle.stat().st_mode & 0o777 == 0o600
    found = parts(bundle)
    assert len(found["gateway-agent/journal.txt"]) <= 512 * 1024 + 100
    assert len(gzip.decompress(bundle.read_bytes())) < 5_000_000
    assert seen(found, {**SECRETS, **STRANGERS, **box.keys()}) == []


# ---- what others can reach -------------------------------------------------------------------------------------------


def test_nothing_listens_at_an_address_that_others_can_reach(outside: dict[str, bytes]) -> None:
    """127.0.0.1 and ::1 as the kernel writes them; today the agent listens nowhere at all."""
    reachable = [
        line
        for line in outside["listening"].decode().splitlines()
        if not line.split()[1].startswith(("0100007F:", "00000000000000000000000001000000:"))
    ]
    assert reachable == []


# ---- no default password ---------------------------------------------------------------------------------------------


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        inner = _model_in(field.annotation)
        if inner is not None and inner is not model:
            yield from models(inner)


def test_no_login_has_a_default_and_none_can_be_written_into_the_configuration() -> None:
    """Logins are in files of their own; the configuration knows the files' names only, and none unless it is given."""
    telling = ("password", "secret", "token", "credential", "user", "login", "key_file")
    fields = {
        f"{model.__name__}.{name}": field
        for model in (*models(Config), *DRIVERS.values())
        for name, field in model.model_fields.items()
        if any(word in name for word in telling)
    }
    assert {"CameraConfig.credentials_file", "UplinkConfig.password_file", "BrokerConfig.key_file"} <= set(fields)
    assert {name for name, field in fields.items() if field.default is not None} == set()
    holds_text = {name for name, field in fields.items() if "Path" not in str(field.annotation)}
    assert holds_text == {"UplinkConfig.username"}
