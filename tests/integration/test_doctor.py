"""`gateway-agent doctor` against the real thing: RTSP servers, brokers, certificates, disks, a running agent.

Each test looks only at what it made: the machine of the tests has a clock and a kernel's log of its own.
"""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from agent.clock import FakeClock, SystemClock
from agent.contract.event import Stream
from agent.outbox import Outbox
from tests.support.authority import Authority, Dates
from tests.support.command import BOX, Agent, broker_lines, eventually, gateway_agent, write_config
from tests.support.events import crossing
from tests.support.http_camera import HttpCameraServer
from tests.support.mosquitto import PROGRAM, Mosquitto
from tests.support.rtsp import RtspServer, free_port, skip_without_gstreamer
from tests.support.small_disk import small_disk
from tests.support.sysfs import FakeSysfs
from tests.support.traffic import write_traffic

if PROGRAM is None:
    pytest.skip("no mosquitto; apt-get install mosquitto", allow_module_level=True)

HERE = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


def doctor(config: Path, *more: str | Path, **environment: str) -> dict[str, Any]:
    run = gateway_agent("doctor", "--json", "--config", config, *more, **environment)
    assert "Traceback" not in run.stderr, run.stderr
    told: dict[str, Any] = json.loads(run.stdout)
    assert run.returncode == (1 if told["problems"] else 0), run.stderr
    return told


def about(told: dict[str, Any], *nouns: str) -> dict[str, list[str]]:
    """Name of the thing → what was found of it; of things whose kinds begin with one of the nouns."""
    found: dict[str, list[str]] = {}
    for one in told["findings"]:
        if one["kind"].partition("-")[0] in nouns:
            found.setdefault(one["name"], []).append(one["kind"])
    return found


def words(told: dict[str, Any], kind: str) -> str:
    (one,) = [one for one in told["findings"] if one["kind"] == kind]
    return str(one["found"])


def write(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(f'{BOX}[outbox]\npath = "{folder / "outbox.db"}"\nmax_mb = 64\nalert_reserve_mb = 16\n{text}')
    return path


def login_file(folder: Path, name: str, user: str, password: str) -> Path:
    path = folder / name
    path.write_text(f'user = "{user}"\npassword = "{password}"\n')
    path.chmod(0o600)
    return path


# ---- the configuration -----------------------------------------------------------------------------------------------


def test_a_wrong_configuration_is_a_finding_and_the_machine_is_looked_at_all_the_same(tmp_path: Path) -> None:
    sysfs = FakeSysfs(tmp_path / "sys")
    sysfs.firmware(0x50001)
    config = write(tmp_path, '[[camera]]\nid = "cam"\nsorce = "file:x"\n')
    told = doctor(config, GATEWAY_AGENT_SYSFS=str(sysfs.root))
    assert "camera[1].sorce: unknown key; did you mean 'source'?" in words(told, "config-wrong")
    assert told["findings"][0]["kind"] == "config-wrong"
    assert about(told, "power") == {"": ["power-low"]}


def test_what_is_told_on_a_terminal_says_what_to_do_in_both_languages(tmp_path: Path) -> None:
    config = write(tmp_path, '[[camera]]\nid = "cam"\nsorce = "file:x"\n')
    english = gateway_agent("doctor", "--config", config)
    vietnamese = gateway_agent("doctor", "--config", config, LC_ALL="vi_VN.UTF-8")
    assert (english.returncode, vietnamese.returncode) == (1, 1)
    assert english.stdout.startswith("PROBLEM: configuration: the configuration cannot be used:")
    assert "    what to do: correct it, then sudo systemctl restart gateway-agent" in english.stdout
    assert vietnamese.stdout.startswith("LỖI: cấu hình: không dùng được cấu hình:")
    assert "    cách xử lý: sửa lại rồi sudo systemctl restart gateway-agent" in vietnamese.stdout


# ---- the board -------------------------------------------------------------------------------------------------------


def test_a_hot_board_and_what_it_has_gone_through_are_told(tmp_path: Path) -> None:
    sysfs = FakeSysfs(tmp_path / "sys")
    sysfs.heat(83.0)
    sysfs.firmware(0x50000)  # has been throttled and undervolted, is not now
    config = write_config(tmp_path, None, more='[[sensor]]\nid = "t"\ndriver = "hwmon"\npath = "/none/temp1_input"')
    told = doctor(config, GATEWAY_AGENT_SYSFS=str(sysfs.root))
    assert about(told, "board", "power") == {"": ["board-hot", "power-was-low", "board-was-slowed"]}
    assert words(told, "board-hot") == "the processor is at 83 °C; the agent looks less often"


# ---- disks and what waits --------------------------------------------------------------------------------------------


def test_a_disk_that_is_full_or_can_only_be_read_is_told(tmp_path: Path) -> None:
    with small_disk("ext4", tmp_path, 100) as disk:
        config = write_config(disk, "clip.mp4")
        assert of_the_disk(config) == set()
        with (disk / "fill").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 70 << 20)
        assert of_the_disk(config) == {"disk-full"}
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert of_the_disk(config) == {"disk-readonly"}


def of_the_disk(config: Path) -> set[str]:
    """Without what the kernel of the tests' machine has gone through with earlier small disks."""
    return set(about(doctor(config), "disk", "outbox").get("", [])) - {"disk-errors"}


def test_what_has_waited_too_long_and_what_the_broker_will_never_take_are_told(tmp_path: Path) -> None:
    config = write_config(tmp_path, "clip.mp4", broker=broker_lines(free_port()))
    long_ago = FakeClock(wall_ms=SystemClock().stamp().wall_ms - 9 * 3_600_000).stamp()
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.put(*(crossing(track, stamp=long_ago) for track in (1, 2, 3)))
    outbox.set_aside(outbox.peek(Stream.COUNT)[0], "rejected")
    outbox.close()
    told = doctor(config)
    assert about(told, "outbox") == {"": ["outbox-old", "outbox-refused"]}
    assert words(told, "outbox-old") == "2 messages wait, the oldest for 9 h"


def test_an_outbox_that_is_no_database_is_told(tmp_path: Path) -> None:
    config = write_config(tmp_path, "clip.mp4")
    (tmp_path / "outbox.db").write_bytes(b"not a database" * 1000)
    assert about(doctor(config), "outbox") == {"": ["outbox-unreadable"]}


# ---- cameras ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port on loopback at which nobody answers: the queue of connections is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
            waiting.append(sock)
        yield port
        for sock in waiting:
            sock.close()


def test_each_way_in_which_a_camera_can_fail_is_told_apart(tmp_path: Path, deaf: int) -> None:
    skip_without_gstreamer()
    right = login_file(tmp_path, "right.toml", "viewer", "trà đá")
    wrong = login_file(tmp_path, "wrong.toml", "viewer", "cà phê")
    with (
        RtspServer(login="viewer:trà đá") as rtsp,
        HttpCameraServer() as web,
        socket.create_server(("127.0.0.1", 0)) as mute,
    ):
        cameras = {
            "fine": (rtsp.url(), right, []),
            "wrong-password": (rtsp.url(), wrong, ["camera-login"]),
            "no-password": (rtsp.url(), None, ["camera-login"]),
            "no-such-stream": (rtsp.url("none"), right, ["camera-refused"]),
            "nothing-listens": (f"rtsp://127.0.0.1:{free_port()}/s", None, ["camera-closed"]),
            "nobody-answers": (f"rtsp://127.0.0.1:{deaf}/s", None, ["camera-silent"]),
            "no-camera": (f"rtsp://127.0.0.1:{mute.getsockname()[1]}/s", None, ["camera-undecodable"]),
            "a-web-page": (f"http://127.0.0.1:{web.port}/video.mp4", None, ["camera-refused"]),
            "unplugged": ("v4l2:/dev/video-none", None, ["camera-bad"]),
            "no-file": ("file:none.mp4", None, ["camera-bad"]),
        }
        text = "".join(
            f'[[camera]]\nid = "{name}"\nsource = "{source}"\n' + (f'credentials_file = "{login}"\n' if login else "")
            for name, (source, login, _) in cameras.items()
        )
        told = doctor(write(tmp_path, text))
    assert about(told, "camera") == {name: kinds for name, (_, _, kinds) in cameras.items() if kinds}
    assert "cà phê" not in json.dumps(told, ensure_ascii=False)


# ---- brokers ---------------------------------------------------------------------------------------------------------


def dates(begin_days: float, end_days: float) -> Dates:
    now = datetime.now(UTC)
    return now + timedelta(days=begin_days), now + timedelta(days=end_days)


def tls_broker(
    folder: Path, city: Authority, name: str, *names: x509.GeneralName, valid: Dates | None = None
) -> Mosquitto:
    server = city.issue(name, *names, valid=valid)
    return Mosquitto(
        folder / name,
        listener=[
            f"cafile {city.file}",
            f"certfile {server.certificate}",
            f"keyfile {server.key}",
            "allow_anonymous true",
        ],
    )


def test_each_certificate_that_a_broker_should_not_have_is_told_apart(tmp_path: Path) -> None:
    city, elsewhere = Authority(tmp_path / "city", "city"), Authority(tmp_path / "else", "elsewhere")
    named = x509.DNSName("ioc.example")
    with (
        tls_broker(tmp_path, city, "fine", HERE) as fine,
        tls_broker(tmp_path, city, "soon", HERE, valid=dates(-30, 3)) as soon,
        tls_broker(tmp_path, city, "expired", HERE, valid=dates(-30, -2)) as expired,
        tls_broker(tmp_path, city, "named", named) as wrong_name,
        tls_broker(tmp_path, elsewhere, "stranger", HERE) as stranger,
        Mosquitto(tmp_path / "plain") as plain,
    ):
        wanted = {
            fine: [],
            soon: ["broker-cert-soon"],
            expired: ["broker-cert-expired"],
            wrong_name: ["broker-cert-name"],
            stranger: ["broker-cert-unknown"],
            plain: ["broker-tls"],
        }
        text = "".join(f'[[broker]]\n{broker_lines(one.port)}\nca_file = "{city.file}"\n' for one in wanted)
        told = doctor(write(tmp_path, text + '[[camera]]\nid = "c"\nsource = "file:none"\n'))
    named_by_port = {f"127.0.0.1:{one.port}": kinds for one, kinds in wanted.items() if kinds}
    assert about(told, "broker") == named_by_port


def test_a_broker_that_does_not_take_our_certificate_is_told_as_that(tmp_path: Path) -> None:
    city, elsewhere = Authority(tmp_path / "city", "city"), Authority(tmp_path / "else", "elsewhere")
    server, stranger = city.issue("broker", HERE), elsewhere.issue("stranger")
    old = city.issue("old", valid=dates(-30, -2))
    listener = [f"cafile {city.file}", f"certfile {server.certificate}", f"keyfile {server.key}"]
    with Mosquitto(tmp_path / "b", listener=[*listener, "require_certificate true"]) as broker:
        for name, ours in (("none", ""), ("stranger", stranger), ("old", old)):
            files = f'cert_file = "{ours.certificate}"\nkey_file = "{ours.key}"\n' if ours else ""  # type: ignore[union-attr]
            text = f'[[broker]]\n{broker_lines(broker.port)}\nca_file = "{city.file}"\n{files}'
            told = doctor(write(tmp_path, text + '[[camera]]\nid = "c"\nsource = "file:none"\n'))
            assert about(told, "broker") == {f"127.0.0.1:{broker.port}": ["broker-cert-of-ours"]}, name
        assert about(told, "cert") == {str(old.certificate): ["cert-expired"]}


def test_each_way_in_which_a_broker_can_refuse_is_told_apart(tmp_path: Path, deaf: int) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "gw", "trà đá"], check=True)
    passwords.chmod(0o644)
    secret = tmp_path / "password"
    secret.touch(0o600)
    text = f'[uplink]\nusername = "gw"\npassword_file = "{secret}"\n'
    login = ["allow_anonymous false", f"password_file {passwords}"]
    with (
        Mosquitto(tmp_path / "login", listener=login) as wants_login,
        socket.create_server(("127.0.0.1", 0)) as mute,
    ):
        places = {
            wants_login.port: [],
            free_port(): ["broker-closed"],
            deaf: ["broker-silent"],
            mute.getsockname()[1]: ["broker-no-mqtt"],
        }
        for port in places:
            text += f"[[broker]]\ntls = false\n{broker_lines(port)}\n"
        config = write(tmp_path, text + '[[camera]]\nid = "c"\nsource = "file:none"\n')
        secret.write_text("trà đá\n")
        right = about(doctor(config), "broker")
        secret.write_text("cà phê\n")
        wrong = about(doctor(config), "broker")
    problems = {name: [kind for kind in kinds if kind != "broker-plain"] for name, kinds in right.items()}
    assert problems == {f"127.0.0.1:{port}": kinds for port, kinds in places.items()}
    assert "broker-login" in wrong[f"127.0.0.1:{wants_login.port}"]


def test_a_broker_that_lets_us_in_and_takes_nothing_is_told(tmp_path: Path) -> None:
    """As mosquitto does with a box whose topics are not in its access list: it refuses each message and hangs up."""
    rights = tmp_path / "access-list"
    rights.write_text("topic readwrite gw/v1/elsewhere/#\n")
    rights.chmod(0o644)
    clip = write_traffic(tmp_path / "traffic.mp4", 2)
    with Mosquitto(tmp_path / "broker", listener=["allow_anonymous true", f"acl_file {rights}"]) as broker:
        config = write_config(tmp_path, clip, camera="loop = true", broker=broker_lines(broker.port))
        with Agent(config) as agent:

            def is_refused() -> bool:
                path = tmp_path / "health.json"
                said = json.loads(path.read_text()) if path.exists() else {}
                return bool(said) and said["outbox"]["rows"] > 0 and "not authorised" in said["link"].get("error", "")

            assert eventually(is_refused), agent.log()
            told = doctor(config)
    assert "broker-not-authorised" in about(told, "broker")[f"127.0.0.1:{broker.port}"]
    assert "not authorised (0x87)" in words(told, "broker-not-authorised")


# ---- secrets ---------------------------------------------------------------------------------------------------------


def test_a_password_that_others_may_read_and_one_that_is_missing_are_told(tmp_path: Path) -> None:
    login = login_file(tmp_path, "north.toml", "viewer", "trà đá")
    login.chmod(0o644)
    config = write(
        tmp_path,
        f'[[camera]]\nid = "n"\nsource = "rtsp://127.0.0.1:{free_port()}/s"\ncredentials_file = "{login}"\n'
        f'[[camera]]\nid = "s"\nsource = "rtsp://127.0.0.1:{free_port()}/s"\ncredentials_file = "{tmp_path}/none"\n',
    )
    told = doctor(config)
    assert about(told, "secret") == {str(login): ["secret-open"], f"{tmp_path}/none": ["secret-unreadable"]}
    login.chmod(0o600)
    assert about(doctor(config), "secret") == {f"{tmp_path}/none": ["secret-unreadable"]}


# ---- beside a running agent ------------------------------------------------------------------------------------------


def test_beside_a_running_agent_nothing_that_is_at_work_is_touched(tmp_path: Path, broker: Mosquitto) -> None:
    """A camera that gives pictures and a broker that is connected are taken at the agent's word: many cameras have but
    one place for a viewer, and some brokers throw the first connection out when a second one comes."""
    skip_without_gstreamer()
    with RtspServer() as camera:
        config = write_config(tmp_path, camera.url(), broker=broker_lines(broker.port))
        with Agent(config) as agent:

            def is_at_work() -> bool:
                told = tmp_path / "health.json"
                said = json.loads(told.read_text()) if told.exists() else {}
                return said.get("link", {}).get("state") == "up" and said["cameras"]["cam"]["state"] == "open"

            assert eventually(is_at_work), agent.log()
            seen = sockets_at(camera.port)
            logged_in = broker.log().count("New client connected")
            told = doctor(config)
            assert told["at_work"] is True
            assert about(told, "camera", "outbox") == {}
            assert about(told, "broker") == {f"127.0.0.1:{broker.port}": ["broker-plain"]}
            assert broker.log().count("New client connected") == logged_in
            assert sockets_at(camera.port) == seen

            camera.signal(signal.SIGSTOP)
            try:
                assert eventually(lambda: not is_at_work()), agent.log()
                told = doctor(config)
            finally:
                camera.signal(signal.SIGCONT)
            assert about(told, "camera") == {"cam": ["camera-undecodable"]}


def sockets_at(port: int) -> int:
    """How many connections to a loopback port there are, or were a moment ago."""
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(row.split()[1] == f"0100007F:{port:04X}" for row in rows)


def test_a_sensor_that_the_agent_cannot_read_is_told_by_the_agents_word(tmp_path: Path) -> None:
    more = f'[[sensor]]\nid = "drain"\ndriver = "modbus-tcp"\nhost = "127.0.0.1"\nport = {free_port()}\nstale_s = 2\n'
    more += 'interval_s = 1\n[[sensor.quantity]]\nid = "level"\nunit = "m"\nregister = 0\n'
    config = write_config(tmp_path, None, more=more)
    alone = doctor(config)
    assert about(alone, "sensor") == {"drain": ["sensor-silent"]}
    with Agent(config) as agent:

        def is_silent() -> bool:
            path = tmp_path / "health.json"
            return path.exists() and json.loads(path.read_text())["sensors"]["drain"]["state"] == "silent"

        assert eventually(is_silent), agent.log()
        told = doctor(config)
    assert told["at_work"] is True
    assert about(told, "sensor") == {"drain": ["sensor-silent"]}
    assert "nothing listens" in words(told, "sensor-silent") or "refused" in words(told, "sensor-silent").lower()
