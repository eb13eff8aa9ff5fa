"""Every command against the real agent and a real mosquitto: done, refused for each reason, during an outage, across a
restart. The verdict is what the broker delivers, and the audit log of the box."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.audit import verify
from agent.commands import Journal
from agent.uplink import Broker
from agent.uplink.subscriber import Subscriber
from tests.support.command import Agent, broker_lines, eventually, gateway_agent, write_config
from tests.support.commands import ask, claims, pem, token, write_trust
from tests.support.consumer import Consumer
from tests.support.mosquitto import Mosquitto
from tests.support.traffic import write_traffic

BOX = "test/gw"


class Box:
    """An agent at work, and the centre that listens to all it says."""

    def __init__(self, folder: Path, broker: Mosquitto, source: str | Path | None) -> None:
        self.folder, self.broker = folder, broker
        more = '[[sensor]]\nid = "t"\ndriver = "hwmon"\npath = "/none/temp1_input"\n'
        self.config = write_config(folder, source, broker=broker_lines(broker.port), more=more)
        write_trust(folder)
        # Where nobody sets this machine's clock, the box knows at least that it is later than this.
        journal = Journal(folder / "commands.db")
        journal.keep_fact("floor_ms", time.time_ns() // 1_000_000 - 60_000)
        journal.close()
        self.agent = Agent(self.config)
        self.centre = Consumer(Broker("127.0.0.1", broker.port))

    def send(self, made: bytes) -> None:
        with Subscriber(Broker("127.0.0.1", self.broker.port), ["nothing"]) as centre:
            centre.publish(f"gw/v1/{BOX}/command", made)
            centre.next(0.2)

    def replies(self, request_id: str) -> list[dict[str, Any]]:
        said = [fields for topic, fields in list(self.centre.other) if topic.endswith("/reply")]
        return [fields for fields in said if fields.get("id") == request_id]

    def ends(self, request_id: str) -> bool:
        return any(reply["result"] != "accepted" for reply in self.replies(request_id))

    def ask(self, who: str, cmd: str, request_id: str, **args: Any) -> dict[str, Any]:
        """The last thing that is answered."""
        self.send(ask(who, cmd, BOX, id=request_id, **args))
        assert eventually(lambda: self.ends(request_id)), self.agent.log()
        return self.replies(request_id)[-1]

    def audit(self) -> list[dict[str, Any]]:
        return [message for message in list(self.centre.messages) if message["kind"] == "audit"]

    def is_online(self) -> bool:
        states = [fields for topic, fields in list(self.centre.other) if topic.endswith("/state")]
        return bool(states) and bool(states[-1]["online"])


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


Start = Callable[..., Box]


@pytest.fixture
def start(tmp_path: Path, broker: Mosquitto) -> Iterator[Start]:
    boxes: list[Box] = []

    def make(source: str | Path | None = None) -> Box:
        box = Box(tmp_path, broker, source)
        boxes.append(box)
        box.centre.__enter__()
        box.agent.start()
        assert eventually(box.is_online), box.agent.log()
        return box

    yield make
    for box in boxes:
        box.agent.stop()
        box.centre.__exit__(None, None, None)


def test_ping_tells_what_runs_and_what_waits(start: Start) -> None:
    box = start()
    reply = box.ask("vy", "ping", "q1")
    assert (reply["result"], reply["command"]) == ("done", "ping")
    assert {"agent", "config", "uptime_s", "epoch", "last", "rows", "streams"} <= reply["data"].keys()


def test_a_snapshot_is_taken_now_and_arrives_as_what_the_answer_says(start: Start, tmp_path: Path) -> None:
    box = start(write_traffic(tmp_path / "road.mp4", 20))
    reply = box.ask("oanh", "snapshot", "q1", camera="cam")
    assert reply["result"] == "done", reply
    data = reply["data"]
    assert eventually(lambda: data["evidence"] in dict(box.centre.pictures))
    assert dict(box.centre.pictures)[data["evidence"]][:2] == b"\xff\xd8"
    other = box.ask("oanh", "snapshot", "q2", camera="south")
    assert (other["result"], other["why"]) == ("refused", "no camera 'south'; there is: cam")


def test_diagnostics_are_the_doctors_bundle_without_secrets(start: Start) -> None:
    box = start()
    reply = box.ask("en", "diagnostics", "q1")
    assert reply["result"] == "done", reply
    bundle_id = reply["data"]["diagnostics"]
    assert eventually(lambda: bundle_id in dict(box.centre.pictures))
    with tarfile.open(fileobj=io.BytesIO(dict(box.centre.pictures)[bundle_id])) as bundle:
        names = bundle.getnames()
    assert "gateway-agent/doctor.json" in names
    assert "gateway-agent/config.json" in names


def test_a_restart_ends_this_agent_and_is_done_when_the_next_one_runs(start: Start) -> None:
    box = start()
    box.send(ask("en", "restart", BOX, id="q1"))
    assert box.agent.process is not None
    assert box.agent.process.wait(30) == 0
    assert [reply["result"] for reply in box.replies("q1")] == ["accepted"]
    box.agent.start()  # as systemd does
    assert eventually(lambda: box.ends("q1"))
    assert [reply["result"] for reply in box.replies("q1")] == ["accepted", "done"]
    pid = box.agent.pid
    box.send(ask("en", "restart", BOX, id="q1"))
    box.ask("vy", "ping", "q2")
    assert box.agent.pid == pid
    assert box.agent.process.poll() is None


def test_what_is_not_rightly_signed_for_this_box_is_refused_and_noted(start: Start) -> None:
    box = start()
    now_s = int(time.time())
    refused = {
        "signature": token("mallory", claims("restart", BOX, id="signature")),
        "role": token("vy", claims("restart", BOX, id="role")),
        "expired": token("en", claims("restart", BOX, id="expired", now_s=now_s - 7200)),
        "box": token("en", claims("restart", "test/other", id="box")),
        "unknown": token("en", claims("fly", BOX, id="unknown")),
        "args": token("en", claims("restart", BOX, id="args", now="yes")),
    }
    for made in refused.values():
        box.send(made)
    box.send(b"not a token at all")
    box.send(ask("en", "restart", BOX, id="cut")[:-20])
    assert eventually(lambda: all(box.ends(request_id) for request_id in refused))
    assert {request_id: box.replies(request_id)[-1]["result"] for request_id in refused} == dict.fromkeys(
        refused, "refused"
    )
    assert box.agent.process is not None
    assert box.agent.process.poll() is None
    assert eventually(lambda: len(box.audit()) == 8)
    noted = {entry.get("id"): (entry["did"], entry["outcome"]) for entry in box.audit()}
    assert {name: noted[name][1] for name in refused} == dict.fromkeys(refused, "refused")


def test_a_replayed_command_is_answered_as_before_not_done_again_and_noted(start: Start) -> None:
    box = start()
    made = ask("vy", "ping", BOX, id="q1")
    for _ in range(3):
        box.send(made)
    assert eventually(lambda: len(box.replies("q1")) == 3)
    first, *again = box.replies("q1")
    assert [reply.get("earlier") for reply in again] == [True, True]
    assert {json.dumps(reply["data"]) for reply in again} == {json.dumps(first["data"])}
    assert eventually(lambda: [entry["outcome"] for entry in box.audit()] == ["done", "repeated", "repeated"])
    box.send(token("vy", {**claims("ping", BOX, id="q1"), "by": "another token"}))
    assert eventually(lambda: len(box.replies("q1")) == 4)
    assert box.replies("q1")[-1]["result"] == "refused"


def test_a_command_of_an_outage_is_done_when_the_link_is_back_and_its_answer_survives_a_kill(
    start: Start, broker: Mosquitto
) -> None:
    box = start()
    box.ask("vy", "ping", "before")
    box.agent.process.kill()  # type: ignore[union-attr]
    box.agent.process.wait()  # type: ignore[union-attr]
    for number in range(10):
        box.send(ask("vy", "ping", BOX, id=f"away-{number}"))
    box.agent.start()
    assert eventually(lambda: all(box.ends(f"away-{number}") for number in range(10)))
    broker.stop()
    time.sleep(0.5)
    broker.start()
    assert eventually(lambda: bool(box.ask("vy", "ping", f"after-{time.monotonic_ns()}")), 60)


def test_the_audit_log_on_the_ledger_is_the_one_on_the_box_and_verify_says_so(start: Start) -> None:
    box = start()
    for number in range(5):
        box.ask("vy", "ping", f"q{number}")
    assert eventually(lambda: len(box.audit()) == 5)
    published = box.audit()
    assert [entry["n"] for entry in published] == [1, 2, 3, 4, 5]
    assert [entry["before"] for entry in published[1:]] == [entry["hash"] for entry in published[:-1]]
    folder = box.folder / "audit"
    found = verify(folder)
    assert (found.trouble, found.last and found.last.hash) == (None, published[-1]["hash"])
    against = f"5:{published[-1]['hash']}"
    fine = gateway_agent("audit", "verify", "--config", box.config, "--against", against)
    assert (fine.returncode, "whole, 5 entries" in fine.stdout) == (0, True)
    [path] = folder.glob("*.log")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    cut = gateway_agent("audit", "verify", "--config", box.config, "--against", against)
    assert (cut.returncode, "written anew or cut off" in cut.stdout) == (1, True)
    path.write_bytes(path.read_bytes().replace(b'"did":"ping"', b'"did":"pong"', 1))
    changed = gateway_agent("audit", "verify", "--config", box.config)
    assert (changed.returncode, "was changed" in changed.stdout) == (1, True)


def test_the_verb_signs_sends_and_shows_the_answer(start: Start, tmp_path: Path) -> None:
    box = start()
    key = tmp_path / "oanh.key"
    key.write_bytes(pem("oanh"))
    where = ["--key", str(key), "--broker", f"127.0.0.1:{box.broker.port}", "--by", "Lan"]
    done = gateway_agent("command", BOX, "ping", *where)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"] == "done"
    refused = gateway_agent("command", BOX, "reboot", *where)
    assert (refused.returncode, json.loads(refused.stdout)["result"]) == (1, "refused")
    wrong = gateway_agent("command", BOX, "snapshot", *where)
    assert (wrong.returncode, "args.camera: Field required" in wrong.stderr) == (64, True)
    printed = gateway_agent("command", BOX, "ping", "--key", str(key))
    box.send(printed.stdout.strip().encode())
    assert eventually(lambda: len(box.audit()) >= 3)
    assert {entry["by"] for entry in box.audit() if entry["did"] == "ping"} >= {"Lan (oanh)"}
