"""Every verb as a real command: what it says of bad input, and with which exit code it ends.

0 fine, 1 a problem, 64 wrong usage, 78 wrong configuration. Words are checked where a technician has to act on them.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.config import DEFAULT_PACK
from drivers.inference import find_pack
from tests.support.command import BOX, MIDDLE, Agent, broker_lines, eventually, gateway_agent, write_config
from tests.support.mosquitto import Mosquitto, free_port
from tests.support.traffic import write_traffic

VERBS = ("run", "check", "doctor", "replay", "watch", "devices", "outbox", "model")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cars, one each way, through the line "mid"."""
    return write_traffic(tmp_path_factory.mktemp("clip") / "two cars.mp4", 2)


def said(run: subprocess.CompletedProcess[str]) -> str:
    return run.stdout + run.stderr


# ---- usage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str) -> None:
    run = gateway_agent(verb, "--help")
    assert run.returncode == 0
    assert run.stdout.startswith(f"usage: gateway-agent {verb}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param([], "required: VERB", id="no verb"),
        pytest.param(["rum"], "invalid choice: 'rum'", id="no such verb"),
        pytest.param(["run", "--confg", "x"], "unrecognized arguments: --confg x", id="no such option"),
        pytest.param(["replay", "--camera", "cam"], "required: --source", id="an option is missing"),
        pytest.param(["watch", "--broker", "ioc:mqtt"], "--broker 'ioc:mqtt': wanted HOST or HOST:PORT", id="no port"),
    ],
)
def test_wrong_usage_is_exit_64(arguments: list[str], words: str) -> None:
    run = gateway_agent(*arguments)
    assert run.returncode == 64
    assert words in run.stderr
    assert "Traceback" not in run.stderr


# ---- configuration ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["run", "check"])
@pytest.mark.parametrize(
    ("more", "words"),
    [
        pytest.param('sorce = "file:x"', "camera[1].sorce: unknown key; did you mean 'source'?", id="typo"),
        pytest.param(
            '[[camera.line]]\nid = "l"\na = [0.5, 0.5]\nb = [0.5, 0.5]',
            "camera[1].line[1]: a and b are the same point",
            id="a = b",
        ),
        pytest.param(
            '[[camera.zone]]\nid = "z"\npolygon = [[0.1, 0.1], [0.9, 0.9], [0.9, 0.1], [0.1, 0.9]]',
            "camera[1].zone[1]: edge 1 of the polygon crosses edge 3",
            id="crossed polygon",
        ),
    ],
)
def test_a_wrong_configuration_is_exit_78_and_names_file_and_key(
    tmp_path: Path, verb: str, more: str, words: str
) -> None:
    config = write_config(tmp_path, "clip.mp4", rules=more)
    run = gateway_agent(verb, "--config", config)
    assert run.returncode == 78
    assert f"{config}: {words}" in run.stderr
    assert not (tmp_path / "outbox.db").exists()


def test_a_configuration_that_is_not_there_is_exit_78(tmp_path: Path) -> None:
    run = gateway_agent("run", "--config", tmp_path / "none.toml")
    assert run.returncode == 78
    assert "none.toml: cannot read the configuration: No such file or directory; is the path right" in run.stderr


def test_a_camera_the_configuration_does_not_have_is_exit_78(tmp_path: Path, clip: Path) -> None:
    run = gateway_agent("replay", "--config", write_config(tmp_path, clip), "--camera", "west", "--source", clip)
    assert run.returncode == 78
    assert "no camera 'west' in the configuration; it has: cam" in run.stderr


@pytest.mark.parametrize(
    ("file_text", "words"),
    [
        pytest.param(None, "No such file or directory", id="missing"),
        pytest.param('user = "cam"\n', 'wanted exactly user = "…" and password = "…"', id="half"),
        pytest.param("s3cret", 'wanted user = "…" and password = "…"', id="not TOML"),
    ],
)
def test_a_credentials_file_that_cannot_be_used_is_exit_78(tmp_path: Path, file_text: str | None, words: str) -> None:
    login = tmp_path / "login.toml"
    if file_text is not None:
        login.write_text(file_text)
    config = write_config(tmp_path, "rtsp://127.0.0.1/s", camera=f'credentials_file = "{login}"')
    run = gateway_agent("run", "--config", config)
    assert run.returncode == 78
    assert f"camera cam: credentials_file {login}" in run.stderr
    assert words in run.stderr
    assert "s3cret" not in said(run)


# ---- the model pack --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flipped_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled pack with one byte of its weights changed."""
    pack = tmp_path_factory.mktemp("packs") / "flipped"
    shutil.copytree(find_pack(DEFAULT_PACK), pack)
    weights = bytearray((pack / "weights.tflite").read_bytes())
    weights[len(weights) // 2] ^= 1
    (pack / "weights.tflite").write_bytes(weights)
    return pack


@pytest.mark.parametrize("verb", ["check", "run"])
def test_a_model_with_one_flipped_byte_is_exit_78(tmp_path: Path, clip: Path, flipped_pack: Path, verb: str) -> None:
    config = write_config(tmp_path, clip, more=f'[detector]\npack = "{flipped_pack}"')
    run = gateway_agent(verb, "--config", config)
    assert run.returncode == 78
    assert f"model pack {flipped_pack}: weights.tflite is damaged or was changed: sha256 " in run.stderr
    assert not (tmp_path / "outbox.db").exists()


def test_the_verb_model_tells_whole_packs_from_broken_ones(flipped_pack: Path) -> None:
    fine, broken = gateway_agent("model"), gateway_agent("model", DEFAULT_PACK, flipped_pack)
    assert (fine.returncode, broken.returncode) == (0, 1)
    assert f"{DEFAULT_PACK} 1.0.0: fine; 320x320, int8" in fine.stdout
    assert "weights.tflite is damaged or was changed" in broken.stderr


def test_a_model_pack_that_does_not_exist_is_exit_78_with_those_that_do(tmp_path: Path, clip: Path) -> None:
    run = gateway_agent("run", "--config", write_config(tmp_path, clip, more='[detector]\npack = "yolo"'))
    assert run.returncode == 78
    assert "model pack 'yolo': no such bundled pack; bundled are: " + DEFAULT_PACK in run.stderr


# ---- recordings ------------------------------------------------------------------------------------------------------


def replay(folder: Path, source: Path, *more: str | Path) -> subprocess.CompletedProcess[str]:
    config = write_config(folder, "clip.mp4")
    return gateway_agent("replay", "--config", config, "--camera", "cam", "--source", source, *more)


def test_replay_finds_what_passed(tmp_path: Path, clip: Path) -> None:
    run = replay(tmp_path, clip, "--picture", tmp_path / "scene.jpg")
    events = [json.loads(line) for line in run.stdout.splitlines()]
    crossings = [event for event in events if event["kind"] == "crossing"]
    assert run.returncode == 0
    assert [(c["line"], c["direction"], c["class"]) for c in crossings] == [("mid", "in", "car"), ("mid", "out", "car")]
    assert all(abs(c["frame"] - wanted) <= 1 for c, wanted in zip(crossings, (15, 45), strict=True))
    assert [event["kind"] for event in events if event not in crossings] == ["counts"]
    assert (tmp_path / "scene.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_replay_of_the_same_recording_gives_the_same_bytes(tmp_path: Path, clip: Path) -> None:
    outs = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for out in outs:
        assert replay(tmp_path, clip, "--events", out).returncode == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert outs[0].stat().st_size > 0


NIGHT = """
[[camera.rule]]
id = "no-entry"
kind = "wrong-way"
line = "mid"
allowed = "out"
schedule = ["22:00-05:00"]
"""


@pytest.mark.parametrize(
    ("start", "told"),
    [
        pytest.param(["--start", "2025-11-24 21:59:59"], 1, id="the hours begin a second later"),
        pytest.param(["--start", "2025-11-24 12:00"], 0, id="at noon"),
        pytest.param([], 1, id="nobody says when it was"),
    ],
)
def test_a_rule_with_a_schedule_applies_at_its_hours(tmp_path: Path, clip: Path, start: list[str], told: int) -> None:
    """The first car passes after 1.5 s in the direction that is not allowed, the second in the other one."""
    config = write_config(tmp_path, "clip.mp4", rules=MIDDLE + NIGHT)
    run = gateway_agent("replay", "--config", config, "--camera", "cam", "--source", clip, *start)
    alerts = [event for event in map(json.loads, run.stdout.splitlines()) if event["kind"] == "wrong-way"]
    assert run.returncode == 0
    assert [(a["rule"], a["severity"], a["direction"]) for a in alerts] == [("no-entry", "critical", "in")] * told


def test_a_start_that_is_no_time_is_wrong_usage(tmp_path: Path, clip: Path) -> None:
    run = replay(tmp_path, clip, "--start", "at night")
    assert run.returncode == 64
    assert "found 'at night'; wanted a time such as \"2025-11-24 21:50\"" in run.stderr


def test_a_clip_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    run = replay(tmp_path, tmp_path / "none.mp4")
    assert run.returncode == 1
    assert (
        f"camera cam: cannot read {tmp_path / 'none.mp4'}: No such file or directory; is the path right" in run.stderr
    )


def test_a_text_file_called_mp4_is_a_problem(tmp_path: Path) -> None:
    fake = tmp_path / "fake.mp4"
    fake.write_text("not a film\n")
    run = replay(tmp_path, fake)
    assert run.returncode == 1
    assert f"{fake} (11 bytes) is not a video that can be played: wrong kind of file, damaged, or cut off" in run.stderr


def test_a_truncated_clip_is_played_as_far_as_it_goes(tmp_path: Path, clip: Path) -> None:
    whole = tmp_path / "whole.avi"  # AVI, whose index is at the end and can be done without
    cut = tmp_path / "cut.avi"
    write_traffic(whole, 2)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    run = replay(tmp_path, cut)
    assert run.returncode == 1
    assert '"kind": "crossing"' in run.stdout
    assert "of the 60 it promises: the file is damaged or cut off; the events cover the part that could be played" in (
        run.stderr
    )


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path, clip: Path) -> None:
    run = replay(tmp_path, clip, "--events", tmp_path / "no-folder" / "out.jsonl")
    assert run.returncode == 1
    assert "No such file or directory" in run.stderr
    assert "no-folder/out.jsonl" in run.stderr
    assert "Traceback" not in run.stderr


# ---- check -----------------------------------------------------------------------------------------------------------


def test_check_is_content_when_everything_works(tmp_path: Path, clip: Path, broker: Mosquitto) -> None:
    run = gateway_agent("check", "--config", write_config(tmp_path, clip, broker=broker_lines(broker.port)))
    assert run.returncode == 0
    assert f"model {DEFAULT_PACK} 1.0.0: fine, on ai-edge-litert" in run.stdout
    assert "camera cam: fine, 640 x 360" in run.stdout
    assert f"broker 127.0.0.1:{broker.port}: fine, it lets us in" in run.stdout
    assert run.stdout.splitlines()[-1] == "everything is fine"
    assert not (tmp_path / "outbox.db").exists()


def test_check_speaks_vietnamese_to_a_vietnamese_terminal(tmp_path: Path, clip: Path) -> None:
    run = gateway_agent("check", "--config", write_config(tmp_path, clip), LC_ALL="vi_VN.UTF-8")
    assert run.returncode == 0
    assert "máy quay cam: tốt, 640 x 360" in run.stdout
    assert run.stdout.splitlines()[-1] == "mọi thứ đều tốt"


def test_check_says_every_problem_in_one_go(tmp_path: Path) -> None:
    port = free_port()
    run = gateway_agent("check", "--config", write_config(tmp_path, tmp_path / "none.mp4", broker=broker_lines(port)))
    assert run.returncode == 1
    assert f"camera cam: PROBLEM: cannot read {tmp_path / 'none.mp4'}: No such file" in run.stdout
    assert f"broker 127.0.0.1:{port}: PROBLEM: " in run.stdout
    assert "the agent would store its events and go on trying" in run.stdout
    assert run.stdout.splitlines()[-1] == "2 problem(s) found"


class Locked:
    """As much of an RTSP camera as it takes to refuse a login: answers every request with 401."""

    def __init__(self) -> None:
        self._program = subprocess.Popen(
            ["python3", "-c", _LOCKED], stdout=subprocess.PIPE, text=True
        )  # a process of its own, so that a stuck connection cannot hold the test
        assert self._program.stdout is not None
        self.port = int(self._program.stdout.readline())

    def close(self) -> None:
        self._program.kill()
        self._program.wait()
        assert self._program.stdout is not None
        self._program.stdout.close()


_LOCKED = """
import socketserver
class Refuse(socketserver.StreamRequestHandler):
    def handle(self):
        sequence = "0"
        while line := self.rfile.readline().decode("latin-1").strip("\\r\\n") or " ":
            if line.lower().startswith("cseq:"):
                sequence = line.split(":")[1].strip()
            elif line == " ":
                if not sequence:
                    return
                self.wfile.write((f"RTSP/1.0 401 Unauthorized\\r\\nCSeq: {sequence}\\r\\n"
                                  'WWW-Authenticate: Basic realm="cam"\\r\\n\\r\\n').encode())
                sequence = ""
server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refuse)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@pytest.fixture
def locked() -> Iterator[int]:
    camera = Locked()
    yield camera.port
    camera.close()


def test_check_tells_a_refusing_camera_from_a_silent_one(tmp_path: Path, locked: int) -> None:
    login = tmp_path / "login.toml"
    login.write_text('user = "cam"\npassword = "wr0ng"\n')
    source = f"rtsp://127.0.0.1:{locked}/stream1"
    config = write_config(tmp_path, source, camera=f'credentials_file = "{login}"')
    run = gateway_agent("check", "--config", config)
    assert run.returncode == 1
    assert "camera cam: PROBLEM: it answers but refuses us; check user, password and stream path" in run.stdout
    assert "wr0ng" not in said(run)


def test_run_goes_on_beside_a_camera_that_refuses_and_raises_an_alert(tmp_path: Path, locked: int) -> None:
    config = write_config(tmp_path, f"rtsp://127.0.0.1:{locked}/stream1")
    with Agent(config):
        assert eventually(lambda: waiting(config) != [])
    assert [(event["kind"], event["state"]) for event in waiting(config)] == [("camera-silent", "raised")]


def waiting(config: Path) -> list[dict[str, Any]]:
    """What the outbox holds, read by the verb."""
    return [json.loads(line) for line in gateway_agent("outbox", "--config", config, "--export").stdout.splitlines()]


# ---- run without a broker --------------------------------------------------------------------------------------------


def test_run_buffers_and_goes_on_while_no_broker_listens(tmp_path: Path, clip: Path) -> None:
    config = write_config(tmp_path, clip, broker=broker_lines(free_port()))
    with Agent(config) as agent:
        assert agent.process is not None
        assert agent.process.wait(60) == 0  # it ends with the recording
    assert [event["kind"] for event in waiting(config)] == ["crossing", "crossing", "counts"]
    assert "Connection refused" in agent.log()


def test_outbox_and_devices_answer_on_a_box_where_nothing_happened(tmp_path: Path) -> None:
    nothing = gateway_agent("outbox", "--path", tmp_path / "outbox.db")
    assert nothing.returncode == 1
    assert "no such file; has the agent run with this configuration?" in nothing.stderr
    assert gateway_agent("devices", "--offline").returncode == 0


def test_watch_says_when_no_broker_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    run = gateway_agent("watch", "--broker", f"127.0.0.1:{port}", "--for", "5")
    assert run.returncode == 1
    assert f"watch: 127.0.0.1:{port}: " in run.stderr


def test_a_box_table_alone_is_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(BOX)
    run = gateway_agent("check", "--config", path)
    assert run.returncode == 78
    assert "nothing to watch; wanted a table that begins with [[camera]], or one with [[sensor]]" in run.stderr
