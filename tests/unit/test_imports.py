"""The import rules of the architecture, read from the source itself.

One way: drivers ← stages ← ops ← wiring ← verbs. A stage does not know its neighbours; what passes between them are
events (`contract`), and events reach the broker by way of the outbox.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]

# What each part may import of the agent and the drivers, beside itself. "drivers" alone is drivers.base and fakes.
SEAMS = {"agent.alive", "agent.clock", "agent.errors"}
MAY: dict[str, set[str]] = {
    "drivers": set(),
    "drivers.cameras": {"drivers"},
    "drivers.inference": {"drivers"},
    "drivers.sensors": {"drivers"},
    "drivers.inventory": {"drivers"},
    "agent.errors": set(),
    "agent.clock": set(),
    "agent.alive": {"agent.clock"},
    "agent.sharpness": set(),
    "agent.durable": set(),
    "agent.secret_file": set(),
    "agent.memory": {"agent.durable"},
    "agent.raised": {*SEAMS, "agent.durable", "agent.contract"},
    "agent.contract": {*SEAMS, "agent"},  # its documents name the version
    "agent.vision": {*SEAMS, "agent.sharpness", "agent.contract", "drivers"},
    "agent.sensing": {*SEAMS, "agent.contract", "drivers"},
    # Fed with frames and tracks by vision and emptied by the uplink, each through a protocol of its own.
    "agent.evidence": {*SEAMS, "agent.durable", "agent.sharpness", "agent.contract", "drivers"},
    "agent.outbox": {*SEAMS, "agent.contract"},
    "agent.tls": {*SEAMS, "agent.secret_file"},
    "agent.identity": {*SEAMS, "agent.durable", "agent.contract", "agent.tls"},
    # Who did what: a file, and the ledger.
    "agent.audit": {*SEAMS, "agent.contract", "agent.durable", "agent.raised"},
    # What is asked, between the link and the stages. Whom to believe is agent.update's.
    "agent.commands": {*SEAMS, "agent.audit", "agent.contract", "agent.outbox", "agent.update"},
    "agent.uplink": {*SEAMS, "agent.commands", "agent.secret_file", "agent.contract", "agent.outbox", "agent.tls"},
    # Runs at the centre: knows the contract, and of the box's parts only how to speak to a broker.
    "agent.consumer": {*SEAMS, "agent.contract", "agent.secret_file", "agent.tls", "agent.uplink"},
    # Light boxes, of the real parts that a broker meets.
    "agent.simulate": {
        *SEAMS,
        "agent",
        "agent.contract",
        "agent.outbox",
        "agent.sensing",
        "agent.tls",
        "agent.uplink",
        "drivers",
    },
    # Root's part and the agent's: the latter knows the contract, the former what it replaces.
    "agent.update": {
        *SEAMS,
        "agent.config",
        "agent.contract",
        "agent.durable",
        "agent.raised",
        "drivers",
        "drivers.inference",
    },
    "agent.config_table": {"agent.contract"},
    "agent.config_sensors": {"agent.config_table", "drivers", "drivers.sensors"},
    "agent.config": {
        *SEAMS,
        "agent.config_table",
        "agent.config_sensors",
        "agent.contract",
        "agent.vision",
        "drivers.cameras",
        "drivers.inference",
    },
    "agent.config_change": {*SEAMS, "agent.config"},
    # The page reads what the others say of themselves; only the wiring knows of it.
    "agent.web": {
        *SEAMS,
        "agent.config",
        "agent.contract",
        "agent.durable",
        "agent.evidence",
        "agent.identity",
        "agent.ops",
        "agent.secret_file",
        "agent.tls",
        "agent.vision",
    },
    # ops looks at every stage and reports; no stage knows of it.
    "agent.ops": {
        *SEAMS,
        "agent.durable",
        "agent.raised",
        "agent.contract",
        "agent.evidence",
        "agent.outbox",
        "agent.sensing",
        "agent.uplink",
        "agent.vision",
        "drivers",
        "drivers.inference",
    },
}
# Who alone may import what from outside: by top-level name, or by the start of a dotted one.
ONLY: dict[str, tuple[str, ...]] = {
    "paho": ("agent.uplink",),
    "sqlite3": ("agent.outbox", "agent.commands.journal"),
    "jwt": ("agent.commands.request",),
    "ai_edge_litert": ("drivers.inference",),
    "tflite_runtime": ("drivers.inference",),
    "cbor2": ("agent.contract",),
    "markdown_it": ("agent.contract.page",),  # developers have it, boxes do not
    "iotcore": (),
    # The centre's: no part of a box.
    "nats": ("agent.consumer.jetstream",),
    "pg8000": ("agent.consumer.database",),
    "pika": ("agent.consumer.amqp",),
    "jinja2": ("agent.web",),
    "prometheus_client": ("agent.web",),
    "starlette": ("agent.web",),
    "uvicorn": ("agent.web",),
    "tomlkit": ("agent.config_change",),
    "cryptography": ("agent.identity", "agent.ops.certificates", "agent.tls", "agent.update.keys"),
    "pymodbus": ("drivers.sensors.modbus_wire",),
    "serial": ("drivers.sensors.serial_port",),
    "pynmea2": ("drivers.sensors.nmea",),
    "smbus2": ("drivers.sensors.i2c",),
    "gpiod": ("drivers.sensors.gpio_kernel",),  # LGPL: not shipped, see drivers/README.md
    # Doors: a human's text and the wire.
    "pydantic": (
        "agent.config",
        "agent.config_sensors",
        "agent.config_table",
        "agent.contract",
        "agent.update.make",
        "agent.update.manifest",
        "agent.update.trust",
        "drivers.inference.pack",
    ),
    "pydantic_core": ("agent.config",),
}


def modules() -> dict[str, ast.Module]:
    found = {}
    for package in ("agent", "drivers"):
        for path in sorted((TOP / package).rglob("*.py")):
            name = ".".join(path.relative_to(TOP).with_suffix("").parts).removesuffix(".__init__")
            found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


MODULES = modules()
# The wiring and the verbs may import anything, with these exceptions: nobody imports __main__, and only verbs app.
VERBS = {"agent.__main__", *(name for name in MODULES if name.startswith("agent.verbs"))}


@functools.cache
def imports(name: str) -> tuple[str, ...]:
    return tuple(_imports(name))


def _imports(name: str) -> Iterator[str]:
    """Full names of what a module imports; `from a import b` is a.b where that is a module, else a."""
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import; write the full name"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module
        elif isinstance(node, ast.Call) and "import_module" in ast.dump(node.func):
            yield from _loaded(name)


def _loaded(name: str) -> Iterator[str]:
    """What a module loads by name: every text in it that could be one of the guarded packages."""
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.split(".")[0] in ONLY:
            yield node.value


def part(name: str) -> str:
    """The part of the architecture a module belongs to: the longest of MAY that it begins with, or itself."""
    parts = [known for known in MAY if name == known or name.startswith(known + ".")]
    return max(parts, key=len, default=name)


def test_the_rules_speak_of_every_module() -> None:
    ruled = {name for name in MODULES if part(name) in MAY}
    assert set(MODULES) - ruled - VERBS == {"agent", "agent.app", "agent.camera", "agent.probes", "agent.sensors"}


@pytest.mark.parametrize("name", [name for name in MODULES if part(name) in MAY])
def test_a_part_imports_only_what_it_may(name: str) -> None:
    ours = [other for other in imports(name) if other.split(".")[0] in ("agent", "drivers")]
    wrong = sorted({other for other in ours if part(other) != part(name) and part(other) not in MAY[part(name)]})
    assert wrong == []


def test_the_wiring_is_imported_by_verbs_alone_and_the_command_by_nobody() -> None:
    importers = {
        target: {name for name in MODULES if target in imports(name)} for target in ("agent.app", "agent.__main__")
    }
    assert importers["agent.app"] <= VERBS
    assert importers["agent.__main__"] == set()


@pytest.mark.parametrize("package", ONLY)
def test_a_package_from_outside_is_known_to_its_part_alone(package: str) -> None:
    users = {name for name in MODULES if any(i == package or i.startswith(package + ".") for i in imports(name))}
    strangers = {
        name for name in users if not any(name == home or name.startswith(home + ".") for home in ONLY[package])
    }
    assert strangers == set()


def test_what_is_guarded_is_in_use() -> None:
    """So that a rule that guards nothing, after a rename, is noticed."""
    used = {i.split(".")[0] for name in MODULES for i in imports(name)}
    assert set(ONLY) - used == {"iotcore"}  # the demo's broker: no part of the agent


def test_of_the_uplink_the_centre_uses_what_listens_to_a_broker_and_nothing_that_sends() -> None:
    used = {i for name in MODULES if part(name) == "agent.consumer" for i in imports(name) if part(i) == "agent.uplink"}
    assert used == {"agent.uplink.link", "agent.uplink.settings", "agent.uplink.subscriber"}


def test_no_part_of_a_box_imports_what_runs_at_the_centre() -> None:
    importers = {name for name in MODULES for i in imports(name) if part(i) == "agent.consumer"}
    assert {name for name in importers if part(name) != "agent.consumer"} == {
        "agent.verbs.command",
        "agent.verbs.ingest",
        "agent.verbs.watch",
    }


def test_vision_rules_know_lines_and_zones_and_not_each_other() -> None:
    """What happened comes first and knows nothing; alert rules ask it; how they speak is the policy's alone."""
    may: dict[str, set[str]] = {
        "base": set(),
        "schedule": set(),
        "steady": set(),
        "crossing": {"base"},
        "zone": {"base"},
        "counts": {"base", "zone"},
        "policy": {"base", "schedule"},
    }
    alert_rules = {"base", "steady", "crossing", "zone"}
    prefix = "agent.vision.rules."
    wrong = {
        name: neighbours
        for name in MODULES
        if name.startswith(prefix)
        for short in (name.removeprefix(prefix),)
        for neighbours in ({i.removeprefix(prefix) for i in imports(name) if i.startswith(prefix)},)
        if not neighbours <= may.get(short, alert_rules)
    }
    assert wrong == {}
