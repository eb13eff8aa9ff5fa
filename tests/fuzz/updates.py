"""What root reads before it knows who made it: update files, pulses of the agent; and the trust file."""

from __future__ import annotations

import atexit
import io
import random
import shutil
import tempfile
from pathlib import Path

from agent.errors import ConfigError, UpdateRefused
from agent.update.manifest import this_machine, this_python
from agent.update.proof import Pulse, baseline, doubts, read_pulse, write_pulse
from agent.update.trust import parse_trust
from agent.update.verify import BoxFacts, Now, verify
from tests.fuzz.damage import damaged
from tests.fuzz.run import Outcome, Target
from tests.support.updates import NOW_MS, trust_text, update_file

_FILES = {"one.whl": b"1" * 700, "two.whl": b"2" * 512}
_WHOLE = update_file(_FILES)
_TRUST_TEXT = trust_text()
_TRUST = parse_trust(_TRUST_TEXT, "trust.toml")
_BOX = BoxFacts("s", "b", this_machine(), this_python(), {}, "0.1.0")
_NOW = Now(NOW_MS, 0)
_ID = verify(io.BytesIO(_WHOLE), _TRUST, _BOX, _NOW).update_id
_FILLINGS = (
    *(b"{", b"}", b"[" * 3000, b'"', b"\\ud800", b"9" * 500, b"null", b"\x00" * 512, b"../", b"/etc/passwd"),
    *(b"ustar\x00", b"ustar  \x00", b"x", b"g", b"L", b"2", b"\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff"),
    *(b"one.whl", b"two.whl", b"manifest.json", b"0000644\x00", b"77777777777\x00", b"2099-01-01T00:00:00Z"),
)
_PULSE_FILLINGS = (b"{", b"]", b'"', b"null", b"-1", b"1e999", b"NaN", b"9" * 400, b"[]", b"{}", b'"open"', b"\\ud800")


def update(chance: random.Random) -> Outcome:
    """Refused, or the very file that was signed: what is not read of it (padding, owners in headers) may be changed."""
    data = damaged(_WHOLE, chance, _FILLINGS)
    try:
        found = verify(io.BytesIO(data), _TRUST, _BOX, _NOW)
    except UpdateRefused:
        return Outcome.REFUSED
    assert found.update_id == _ID
    assert found.signers == ("anh", "binh")
    return Outcome.TAKEN


def trust(chance: random.Random) -> Outcome:
    """Keys that can be met, or a refusal."""
    try:
        table = parse_trust(damaged(_TRUST_TEXT.encode(), chance, _FILLINGS).decode("utf-8", "replace"), "x").table
    except ConfigError:
        return Outcome.REFUSED
    for kind, wanted in table.threshold.items():
        assert 1 <= wanted <= sum(kind in key.may_sign for key in table.key.values())
    return Outcome.TAKEN


def pulse() -> Target:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-pulse-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    health = {
        "cameras": {"cam": {"state": "open", "fps": 10.0, "error": None}},
        "sensors": {"rain": {"state": "ok"}},
        "link": {"state": "up"},
    }
    path = folder / "pulse.json"
    write_pulse(path, Pulse("boot", 100.0, 7, "0.1.0", 12.0, 3, health))
    whole = path.read_bytes()
    before = baseline(Pulse("boot", 90.0, 6, "0.1.0", 12.0, 3, health))

    def once(chance: random.Random) -> Outcome:
        """What the agent writes is judged, whatever it writes; and a sick one is not taken for healthy by it."""
        path.write_bytes(damaged(whole, chance, _PULSE_FILLINGS))
        found = read_pulse(path, "boot", 101.0)
        if found is None:
            return Outcome.NOTHING
        baseline(found)
        return Outcome.REFUSED if doubts(found, before, version="0.1.0", report=3) else Outcome.TAKEN

    return Target("pulse", once)


def targets() -> list[Target]:
    return [Target("update", update), Target("trust", trust), pulse()]
