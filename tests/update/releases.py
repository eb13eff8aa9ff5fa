"""Small releases: a launcher of the real agent in this tree, under another version, and with something wrong.

Made of the agent's own code and not of wheels, so that a hundred updates take minutes; that wheels become a release is
tried in tests/integration/test_update_install.py.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from agent.update.install import check_release

TOP = Path(__file__).resolve().parents[2]

_LAUNCHER = """#!{python}
import os, signal, sys, time
sys.path.insert(0, {top!r})
import agent
agent.__version__ = {version!r}
if "run" in sys.argv:
    {wrong}
from agent.__main__ import main
sys.exit(main())
"""

WRONG = {
    "good": "pass",
    "crashes": "time.sleep(0.1); os._exit(1)",
    "hangs": "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)",
    "unimportable": "import a_library_that_was_forgotten",
    "blind": (
        "import agent.app; make = agent.app.make_driver; agent.app.make_driver = "
        "lambda camera, login: make(camera.model_copy(update={'source': 'http://127.0.0.1:9/mjpg'}), login)"
    ),
    "mute": (
        "import agent.app; settings = agent.app.uplink_settings; import dataclasses; agent.app.uplink_settings = "
        "lambda config: dataclasses.replace(settings(config), brokers=())"
    ),
    "cannot store": (
        "import agent.outbox, agent.errors\n"
        "    def put(*a): raise agent.errors.EventStoreError('no')\n"
        "    agent.outbox.Outbox.put = put"
    ),
}


def launcher(version: str, kind: str = "good") -> bytes:
    return _LAUNCHER.format(python=sys.executable, top=str(TOP), version=version, wrong=WRONG[kind]).encode()


def install(payload: Path, release: Path, version: str) -> None:
    """In place of pip. What follows is the real one's check: it starts, says its version, and could update."""
    program = release / "bin" / "gateway-agent"
    program.parent.mkdir(parents=True)
    shutil.copy(payload / "launcher.py", program)
    program.chmod(0o755)
    check_release(release, version)
