"""A box with a camera and a broker, its updater, and the question whether all is well."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from agent.clock import SystemClock
from agent.update import state
from agent.update.manifest import time_text
from agent.update.proof import Pulse, read_pulse
from agent.update.slots import link_target
from agent.uplink.settings import Broker
from tests.support.consumer import Consumer, eventually
from tests.support.http_camera import HttpCameraServer
from tests.support.mosquitto import Mosquitto
from tests.support.updates import Folders, trust_text, update_file
from tests.update.releases import TOP, launcher
from tests.update.service import ServiceManager

FIRST = "0.1.0"
CONFIGS = ("config", "blind config")
HOLD_S = 1.0
# What works gets the time that a busy machine takes; what does not, only keeps everybody waiting.
PROVE_S = {"good": 120.0, "config": 120.0}
_PROVE_BROKEN_S = 15.0
_PATIENCE_S = 60.0


class Rig:
    """One box over any number of updates; its releases count up."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.folders = Folders(top)
        self.places = self.folders.places
        self.broker = Mosquitto(top / "broker")
        self.camera = HttpCameraServer(fps=10.0)
        self.number = 0
        self.clock = SystemClock()

    def __enter__(self) -> Rig:
        self.broker.start()
        self.camera.start()
        self.folders.set_up(FIRST, config=self.config(), trust=trust_text())
        program = self.places.releases / FIRST / "bin" / "gateway-agent"
        program.parent.mkdir()
        program.write_bytes(launcher(FIRST))
        program.chmod(0o755)
        self.service = ServiceManager(self.places, self.top / "door", self.top / "agent.log")
        self.ioc = Consumer(Broker("127.0.0.1", self.broker.port)).__enter__()
        self.service.start()
        self.finish_updates()  # the first time there is more to do: folders, and the time that is known
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.service.close()
        self.ioc.__exit__(None, None, None)
        self.camera.stop()
        self.broker.stop()

    def config(self, version: str = FIRST, camera_url: str = "") -> str:
        return (
            f'# {version}\n[box]\nsite = "test"\nid = "gw"\n[outbox]\npath = "{self.places.var}/outbox.db"\n'
            f'max_mb = 64\nalert_reserve_mb = 16\n[evidence]\npath = "{self.places.var}/evidence"\n'
            f"[health]\ninterval_s = 5\n"
            f'[[broker]]\nhost = "127.0.0.1"\nport = {self.broker.port}\ntls = false\n'
            f'[[camera]]\nid = "cam"\nfps = 5\nsource = "{camera_url or self.camera.url()}"\ncount_interval_s = 10\n'
            '[[camera.line]]\nid = "mid"\na = [0.5, 1.0]\nb = [0.5, 0.2]\n'
        )

    # ---- updates

    def offer(self, kind: str = "good") -> str:
        """Drop a new release, or a new configuration, into the inbox; its version."""
        self.number += 1
        version = f"0.1.{self.number}"
        if kind in CONFIGS:
            url = "" if kind == "config" else "http://127.0.0.1:9/mjpg"
            self.drop({"gateway.toml": self.config(version, url).encode()}, kind="config", version=version)
        else:
            self.drop({"launcher.py": launcher(version, kind)}, version=version)
        return version

    def runs(self, kind: str) -> str:
        """The version that is in use, of what this kind replaces."""
        return self.places.config.read_text().split()[1] if kind in CONFIGS else self.version

    def drop(self, files: dict[str, bytes], **fields: Any) -> None:
        now_ms = int(time.time() * 1000)
        times = {"created": time_text(now_ms - 60_000), "expires": time_text(now_ms + 86_400_000)}
        self.folders.drop(update_file(files, **{**times, **fields}), f"gateway-update-{self.number}.gwu")

    def updater(self, what: str, *options: str, kind: str = "good") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.update.worker", str(self.top), what]
        times = ["--prove-s", str(PROVE_S.get(kind, _PROVE_BROKEN_S)), "--hold-s", str(HOLD_S)]
        return subprocess.run(
            [*command, *times, *options],
            capture_output=True,
            text=True,
            check=False,
            cwd=TOP,
            timeout=300,
            env={**os.environ, "PYTHONPATH": str(TOP), "GATEWAY_AGENT_ROOT": str(self.places.root)},
        )

    def finish_updates(self, kind: str = "good") -> None:
        """As systemd: started again until it ends well."""
        for _ in range(5):
            done = self.updater("work", kind=kind)
            if done.returncode == 0:
                return
        raise AssertionError(f"the updater does not come to an end: {done.stderr[-2000:]}")

    def boot(self) -> None:
        """After a power cut: first what was not proven is put back, then the service starts, then the updater."""
        done = self.updater("recover")
        assert done.returncode == 0, done.stderr[-2000:]
        self.service.start()

    # ---- is all well?

    def pulse(self) -> Pulse | None:
        return read_pulse(self.places.pulse, self.clock.boot_id, self.clock.mono_s())

    @property
    def version(self) -> str:
        return Path(link_target(self.places.current) or "none").name

    def reports(self) -> tuple[state.Report, ...]:
        return state.load(self.places.state).reports

    def problems(self) -> list[str]:
        """What keeps this from being a box at work, whose operations centre knows everything; waits for it."""
        found: list[str] = []

        def is_well() -> bool:
            found[:] = self._problems()
            return not found

        eventually(is_well, _PATIENCE_S)
        return found

    def _problems(self) -> list[str]:
        now, pulse = state.load(self.places.state), self.pulse()
        found = []
        if now.phase != "idle":
            found.append(f"phase {now.phase}")
        if link_target(self.places.current) != link_target(self.places.proven):
            found.append(f"{self.version} runs and is not proven")
        if any(self.places.agent_inbox.iterdir()):
            found.append("a file is left in the inbox")
        if pulse is None or pulse.pid != self.service.pid:
            return [*found, "no agent works"]
        if pulse.agent != self.version:
            found.append(f"agent {pulse.agent} runs, not {self.version}")
        if pulse.told != now.reported:
            found.append(f"{pulse.told} of {now.reported} reports are told")
        if pulse.health["cameras"]["cam"]["state"] != "open":
            found.append("the camera gives no pictures")
        if pulse.health["link"]["state"] != "up":
            found.append("the broker is not connected")
        if pulse.health["outbox"]["rows"]:
            found.append(f"{pulse.health['outbox']['rows']} rows in the outbox")
        last = pulse.health["outbox"]["last"]
        for stream, number in last.items():
            have = {m["seq"] for m in list(self.ioc.messages) if f"/{stream}/" in m["topic"]}
            missing = set(range(1, number + 1)) - have
            if missing:
                found.append(f"{len(missing)} of {number} messages of {stream} have not come")
        return found

    def told(self) -> list[dict[str, Any]]:
        return self.ioc.kinds("box-update")
