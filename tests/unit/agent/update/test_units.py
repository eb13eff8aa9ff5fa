"""That updates and provisioning put the same files in the same places."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.update import units

TOP = Path(__file__).resolve().parents[4]
SHELL = (TOP / "provisioning" / "provision.sh").read_text(encoding="utf-8")


def by_shell(name: str) -> str | None:
    """What `destination` of provision.sh says, read from its text."""
    body = SHELL[SHELL.index("destination() {") :].split("esac")[0]
    for patterns, place in re.findall(r'^    (\S.*?)\) echo "(.+?)" ;;$', body, re.MULTILINE):
        if any(Path(name).match(pattern.strip()) for pattern in patterns.split("|")):
            return (
                str(place)
                .replace("$UNITS", "/etc/systemd/system")
                .replace("$NAME", "gateway-agent")
                .replace("$1", name)
                .lstrip("/")
            )
    return None


@pytest.mark.parametrize("name", sorted(path.name for path in (TOP / "systemd").iterdir()))
def test_a_file_of_the_release_goes_where_provisioning_puts_it(name: str) -> None:
    assert units._destination(name) == by_shell(name)


def test_units_are_among_them_and_papers_are_not() -> None:
    assert by_shell("gateway-agent.service") == "etc/systemd/system/gateway-agent.service"
    assert by_shell("README.md") is None
