"""The verb `watch` on a real broker, and the example in the contract's page."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.contract.event import Stream
from agent.contract.wire import Envelope, body_json, encode
from agent.outbox import Outbox
from agent.uplink import Broker, Uplink, UplinkSettings
from agent.uplink.subscriber import Subscriber
from agent.verbs import outbox, watch
from tests.support.consumer import eventually
from tests.support.events import crossing
from tests.support.mosquitto import Mosquitto, free_port

REPOSITORY = Path(__file__).parents[2]


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    watch.add_arguments(parser)
    return parser.parse_args(words)


class Watching:
    """`watch` in a thread; `result` waits for its exit code."""

    def __init__(self, broker: Mosquitto, *words: str) -> None:
        self._codes: list[int] = []
        parsed = arguments("--broker", f"127.0.0.1:{broker.port}", "--for", "20", *words)
        self._thread = threading.Thread(target=lambda: self._codes.append(watch.run(parsed)))
        self._thread.start()
        # The broker's log is the only witness of the subscription.
        assert eventually(lambda: "gw/v1/#" in broker.log())
        self._broker = broker

    def result(self) -> int:
        self._thread.join(30)
        return self._codes[0]


def message(seq: int, epoch: int = 7) -> bytes:
    return encode(Envelope(epoch, seq, 1_763_966_823_123, 5), body_json(crossing(seq).body), "json")


@pytest.fixture
def speaker(broker: Mosquitto) -> Iterator[Subscriber]:
    """Says what a box would, and what it would not."""
    with Subscriber(Broker("127.0.0.1", broker.port), ["nothing"]) as speaker:
        yield speaker


def say(speaker: Subscriber, topic: str, *payloads: bytes) -> None:
    for payload in payloads:
        speaker.publish(topic, payload)
    speaker.next(0.2)


TOPIC = "gw/v1/site/box/count/north"


def test_a_box_is_watched_line_by_line(broker: Mosquitto, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watching = Watching(broker, "--count", "4")
    outbox = Outbox(tmp_path / "outbox.db")
    uplink = Uplink(
        UplinkSettings("cua-bac", "gw-01", (Broker("127.0.0.1", broker.port),), agent_version="1.2"), outbox
    )
    uplink.start()
    outbox.put(crossing(1), crossing(2), crossing(3, Stream.ALERT))
    assert watching.result() == 0
    assert uplink.stop(5.0)
    outbox.close()
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert re.search(r"cua-bac/gw-01 +state +online, agent 1.2, epoch \d+", out)
    assert re.search(r"cua-bac/gw-01 +count/north +#2 crossing line=gate direction=in class=car track=2", out)
    assert "cua-bac/gw-01/count: 2 messages, 0 repeats dropped, nothing missing" in err


def test_what_is_missing_is_named_and_decides_the_exit_code(
    broker: Mosquitto, speaker: Subscriber, capsys: pytest.CaptureFixture[str]
) -> None:
    watching = Watching(broker, "--count", "4")
    say(speaker, TOPIC, message(1), message(1), message(2), message(6))
    assert watching.result() == 1
    out, err = capsys.readouterr()
    assert "(repeat, dropped)" in out
    assert "! missing 3 to 5" in out
    assert "site/box/count: 3 messages, 1 repeats dropped, missing 3 to 5 of epoch 7" in err


def test_what_the_box_says_it_dropped_is_not_missing(
    broker: Mosquitto, speaker: Subscriber, capsys: pytest.CaptureFixture[str]
) -> None:
    watching = Watching(broker, "--count", "3")
    gap = b'{"epoch":7,"seq":1,"time":1,"up":1,"kind":"gap","stream":"count","first":2,"last":5,"reason":"disk-full"}'
    say(speaker, TOPIC, message(1))
    say(speaker, "gw/v1/site/box/alert/box", gap)
    say(speaker, TOPIC, message(6))
    assert watching.result() == 0
    assert "nothing missing" in capsys.readouterr().err


def test_a_picture_is_shown_by_what_can_be_compared_with_its_alert(
    broker: Mosquitto, speaker: Subscriber, capsys: pytest.CaptureFixture[str]
) -> None:
    watching = Watching(broker, "--count", "1")
    say(speaker, "gw/v1/site/box/evidence/7-ab", b"\xff\xd8picture")
    assert watching.result() == 0
    out = capsys.readouterr().out
    assert re.search(r"site/box +evidence +id=7-ab bytes=9 sha256=[0-9a-f]{64}$", out.strip())


def test_json_is_for_programs_and_junk_is_reported(
    broker: Mosquitto, speaker: Subscriber, capsys: pytest.CaptureFixture[str]
) -> None:
    watching = Watching(broker, "--count", "3", "--json")
    say(speaker, TOPIC, message(1), b"junk")
    say(speaker, "gw/v1/site/box/novelty", b'{"a":1}')
    assert watching.result() == 1
    first, second, third = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (first["topic"], first["payload"]["seq"], first["ledger"]) == (TOPIC, 1, "new")
    assert "starts with byte" in second["error"]
    assert third == {"topic": "gw/v1/site/box/novelty", "payload": {"a": 1}}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--broker", f"127.0.0.1:{free_port()}"], 1, "Connection refused"),
        (["--broker", "nonsense:port"], 64, "wanted HOST or HOST:PORT"),
        (["--broker", "127.0.0.1", "--ca", "/absent.pem"], 1, "/absent.pem: no such file"),
    ],
)
def test_what_cannot_be_watched_says_why(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert watch.run(arguments(*words)) == code
    assert said in capsys.readouterr().err


# ---- `outbox`, the other end ----------------------------------------------------------------------------------------


def shown(path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    outbox.add_arguments(parser)
    code = outbox.run(parser.parse_args(["--path", str(path), *words]))
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_the_outbox_is_shown_beside_a_running_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "outbox.db"
    outbox = Outbox(path)
    outbox.put(crossing(1), crossing(2), crossing(3, Stream.ALERT))
    code, text = shown(path, capsys)
    assert code == 0
    assert "3 messages wait" in text
    assert re.search(r"count +2 waiting", text)
    code, text = shown(path, capsys, "--export")
    rows: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    assert [(row["stream"], row["seq"], row["track"]) for row in rows] == [
        ("alert", 1, 3),
        ("count", 1, 1),
        ("count", 2, 2),
    ]
    outbox.set_aside(outbox.peek(Stream.COUNT)[0], "too-big")
    code, text = shown(path, capsys, "--aside")
    assert json.loads(text)["reason"] == "too-big"
    outbox.close()


def test_an_outbox_that_cannot_be_shown_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(tmp_path / "absent.db", capsys)[0] == 1
    (tmp_path / "junk.db").write_bytes(b"no database" * 1000)
    code, text = shown(tmp_path / "junk.db", capsys)
    assert code == 1
    assert "junk.db: cannot be read" in text


# ---- the page for IOC developers ------------------------------------------------------------------------------------


def test_the_ten_lines_in_the_contracts_page_work(broker: Mosquitto, speaker: Subscriber) -> None:
    page = (REPOSITORY / "agent" / "README.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "Ledger" in block]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    code = code.replace('"broker.example.vn", 1883', f'"127.0.0.1", {broker.port}')
    process = subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        say(speaker, TOPIC, message(1), message(1), message(2), message(5))
        lines = [process.stdout.readline() for _ in range(4)]
        assert [bool(re.search("crossing", line)) for line in lines] == [True, True, False, True]
        assert "missing" in lines[2]
        assert "3" in lines[2]
        assert "4" in lines[2]
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
