"""`gateway-agent run` as the service runs it: a real recording and a real camera, the bundled model, a real mosquitto.

What passes is drawn, so it is known: two cars in six seconds, one each way. Waits are patience for a broken build.
"""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agent.uplink.settings import Broker
from tests.support.command import Agent, broker_lines, eventually, gateway_agent, write_config
from tests.support.consumer import Consumer
from tests.support.mosquitto import PROGRAM, Mosquitto
from tests.support.rtsp import RtspServer, skip_without_gstreamer
from tests.support.traffic import write_traffic

if PROGRAM is None:
    pytest.skip("no mosquitto; apt-get install mosquitto", allow_module_level=True)

BOTH_WAYS = {("mid", "in", "car"): 1, ("mid", "out", "car"): 1}
MAX_RSS_BYTES = 200_000_000


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_traffic(tmp_path_factory.mktemp("clip") / "traffic.mp4", 2)


def crossings(ioc: Consumer) -> Counter[tuple[str, str, str]]:
    found = [message for message in list(ioc.messages) if message["kind"] == "crossing"]
    return Counter((message["line"], message["direction"], message["class"]) for message in found)


def states(ioc: Consumer) -> list[dict[str, Any]]:
    return [fields for topic, fields in list(ioc.other) if topic == "gw/v1/test/gw/state"]


def health(ioc: Consumer) -> list[dict[str, Any]]:
    return [fields for topic, fields in list(ioc.other) if topic == "gw/v1/test/gw/health"]


def test_a_recording_arrives_at_the_ioc_whole(tmp_path: Path, clip: Path, broker: Mosquitto, ioc: Consumer) -> None:
    config = write_config(tmp_path, clip, broker=broker_lines(broker.port))
    with Agent(config, "--pictures", tmp_path / "pictures") as agent:
        assert agent.process is not None
        assert agent.process.wait(60) == 0  # it ends with the recording
    assert eventually(lambda: len(states(ioc)) == 2)
    assert crossings(ioc) == BOTH_WAYS
    assert [message["kind"] for message in ioc.messages].count("counts") == 1
    assert (ioc.missing(), ioc.repeats, ioc.disorder) == ({}, 0, [])
    assert [(state["online"], state["reason"]) for state in states(ioc)] == [(True, "started"), (False, "stopped")]
    assert states(ioc)[1]["last"] == {"alert": 2, "count": 1}
    assert (tmp_path / "pictures" / "cam.jpg").stat().st_size > 0
    with Consumer(Broker("127.0.0.1", broker.port)) as late:  # the state is retained, and the offline one replaced it
        assert eventually(lambda: states(late) != [])
        assert [state["online"] for state in states(late)] == [False]


def test_health_names_runtime_and_model_and_the_agent_stays_small(
    tmp_path: Path, clip: Path, broker: Mosquitto, ioc: Consumer, record_property: Any
) -> None:
    config = write_config(tmp_path, clip, camera="loop = true", broker=broker_lines(broker.port))
    with Agent(config) as agent:
        assert eventually(lambda: len(crossings(ioc)) == 2 and len(health(ioc)) >= 2)
        rss_bytes = agent.rss_bytes()
    pulse = health(ioc)[-1]
    record_property("rss_bytes", rss_bytes)
    print(f"resident memory with one camera and the bundled model: {rss_bytes / 1e6:.0f} MB")
    assert pulse["runtime"].startswith(("ai-edge-litert ", "tflite-runtime "))
    assert pulse["model"] == "ssd-mobilenet-v3-large-coco-320-int8 1.0.0"
    assert pulse["cameras"]["cam"]["state"] == "open"
    assert pulse["link"]["state"] == "up"
    assert pulse["rss_bytes"] > 0
    assert rss_bytes <= MAX_RSS_BYTES


def test_sigterm_ends_it_soon_and_nothing_is_lost(tmp_path: Path, clip: Path, broker: Mosquitto, ioc: Consumer) -> None:
    config = write_config(tmp_path, clip, camera="loop = true", broker=broker_lines(broker.port))
    agent = Agent(config).start()
    try:
        assert eventually(lambda: sum(crossings(ioc).values()) >= 2)
    finally:
        code = agent.stop(signal.SIGTERM, timeout_s=10)
    assert code == 0
    assert eventually(lambda: states(ioc)[-1]["online"] is False)
    promised = states(ioc)[-1]["last"]
    assert promised["count"] == 1  # the interval that ran was closed
    with agent:  # what could not be sent any more is sent at the next start
        assert eventually(lambda: arrived(ioc, promised))
    assert (ioc.missing(), ioc.disorder) == ({}, [])


def test_a_killed_agent_loses_nothing_that_it_had_accepted(
    tmp_path: Path, clip: Path, broker: Mosquitto, ioc: Consumer
) -> None:
    config = write_config(tmp_path, clip, camera="loop = true", broker=broker_lines(broker.port))
    agent = Agent(config).start()
    try:
        assert eventually(lambda: sum(crossings(ioc).values()) >= 1)
        broker.kill()
        assert eventually(lambda: stored(agent, config) >= 3)  # two and more while there was no broker
        before = last_numbers(config)
    finally:
        agent.stop(signal.SIGKILL)
    accepted = last_numbers(config)
    assert accepted["alert"] >= before["alert"]
    broker.start()
    with agent:
        assert eventually(lambda: arrived(ioc, accepted))
    assert (ioc.missing(), ioc.disorder) == ({}, [])


def test_a_camera_that_is_unplugged_raises_and_clears_one_alert(
    tmp_path: Path, broker: Mosquitto, ioc: Consumer
) -> None:
    skip_without_gstreamer()
    with RtspServer() as camera:
        source = camera.url()
        config = write_config(
            tmp_path, source, camera="stall_timeout_s = 2", broker=broker_lines(broker.port), rules=""
        )
        with Agent(config):
            assert eventually(lambda: any(h["cameras"]["cam"]["state"] == "open" for h in health(ioc)))
            camera.stop()
            assert eventually(lambda: len(silences(ioc)) == 1)
            assert eventually(lambda: health(ioc)[-1]["cameras"]["cam"]["state"] == "silent")
            camera.start()
            assert eventually(lambda: len(silences(ioc)) == 2)
    raised, cleared = silences(ioc)
    assert (raised["state"], cleared["state"]) == ("raised", "cleared")
    assert raised["alert"] == cleared["alert"]
    assert cleared["lasted_s"] >= 2
    assert raised["topic"] == "gw/v1/test/gw/alert/cam"
    assert ioc.missing() == {}


def silences(ioc: Consumer) -> list[dict[str, Any]]:
    return [message for message in list(ioc.messages) if message["kind"] == "camera-silent"]


def arrived(ioc: Consumer, last: dict[str, int]) -> bool:
    """Whether every number up to the last ones has come."""
    numbers = {stream: {m["seq"] for m in list(ioc.messages) if f"/{stream}/" in m["topic"]} for stream in last}
    return all(numbers[stream] >= set(range(1, last[stream] + 1)) for stream in last)


def stored(agent: Agent, config: Path) -> int:
    assert agent.process is not None
    assert agent.process.poll() is None, agent.log()
    return last_numbers(config).get("alert", 0)


def last_numbers(config: Path) -> dict[str, int]:
    """The last number given out in each stream, as the verb `outbox` tells it."""
    lines = gateway_agent("outbox", "--config", config).stdout.splitlines()
    words = [line.split() for line in lines if "last number" in line]
    numbers = {line[0]: int(line[line.index("number") + 1]) for line in words}
    return {stream: number for stream, number in numbers.items() if number}
