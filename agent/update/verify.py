"""Whether an update may be taken on this box: signatures, expiry, for whom, which version. Changes nothing.

Time. A box whose clock nobody has set cannot tell whether a file has expired. It knows, though, that it is later than
the latest time it ever knew for certain (`floor_ms`): what had expired by then is refused in any case. What had not is
taken, and that it could not be told is said in every report: a box that never reaches a time server can still be
mended, and nobody is left to believe that its files were fresh. Versions only grow, whatever the clock says, so an old
file does not come back this way. A clock that has been set is believed over any floor.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import BinaryIO

from agent.errors import ConfigError, UpdateRefused
from agent.update import archive
from agent.update.manifest import Manifest, is_version, newer, read_manifest, time_text
from agent.update.trust import Trust, parse_trust, read_signatures

_DAY_MS = 86_400_000
_MAX_TRUST_BYTES = 64 * 1024
UNSET = "the clock of this box has not been set, so it cannot tell whether this has expired"


@dataclass(frozen=True, slots=True)
class Now:
    """now_ms: the time, UTC, Unix ms; None: the clock has not been set. floor_ms: it is later than this."""

    now_ms: int | None
    floor_ms: int

    def is_over(self, expires_ms: int) -> bool:
        """Certainly."""
        return (self.floor_ms if self.now_ms is None else self.now_ms) >= expires_ms


@dataclass(frozen=True, slots=True)
class BoxFacts:
    """What a file is held against. site, box: None where there is no configuration yet.

    installed: the version of each key (release:gateway-agent, pack:…) that was confirmed last.
    """

    site: str | None
    box: str | None
    machine: str
    python: str
    installed: Mapping[str, str]
    agent: str


@dataclass(frozen=True, slots=True)
class Verified:
    """update_id: of the signed bytes. doubt: what could not be told, for the report; None: nothing."""

    manifest: Manifest
    update_id: str
    signers: tuple[str, ...]
    doubt: str | None


def verify(file: BinaryIO, trust: Trust, box: BoxFacts, now: Now, *, downgrade: bool = False) -> Verified:
    """Read an update file from its beginning to its end. Raises UpdateRefused with the reason."""
    head = archive.read_head(file)
    manifest = read_manifest(head.manifest)
    signatures = read_signatures(head.signatures)
    signers = trust.require(manifest.kind, head.manifest, signatures)
    # A trust file is taken also when the one it replaces has expired: a box that was years in a store is not lost.
    if manifest.kind != "trust" and now.is_over(trust.expires_ms):
        raise UpdateRefused(
            f"{trust.where} has expired on {time_text(trust.expires_ms)}: its keys may only sign a new trust file"
        )
    doubt = _check_time(manifest, now)
    _check_box(manifest, box)
    _check_version(manifest, box, downgrade)
    if manifest.kind == "trust":
        _check_trust(file, head, manifest, trust, signatures, now)
    else:
        archive.read_payload(file, manifest.files)
    return Verified(manifest, update_id(head.manifest), signers, doubt)


def update_id(manifest: bytes) -> str:
    return hashlib.sha256(manifest).hexdigest()[:16]


def _check_time(manifest: Manifest, now: Now) -> str | None:
    if now.is_over(manifest.expires_ms):
        raise UpdateRefused(f"it has expired on {manifest.expires}; have it signed anew")
    if now.now_ms is None:
        return UNSET
    if manifest.created_ms > now.now_ms + _DAY_MS:
        raise UpdateRefused(
            f"it was made on {manifest.created}, and this box has {time_text(now.now_ms)}: "
            f"one of the two clocks is wrong; set it, or have it signed anew"
        )
    return None


def _check_box(manifest: Manifest, box: BoxFacts) -> None:
    if manifest.sites and box.site not in manifest.sites:
        raise UpdateRefused(f"it is for site {', '.join(manifest.sites)}; this box is at {box.site or 'none yet'}")
    name = f"{box.site}/{box.box}"
    if manifest.boxes and name not in manifest.boxes:
        raise UpdateRefused(
            f"it is for {', '.join(manifest.boxes[:5])}{' …' if len(manifest.boxes) > 5 else ''}; "
            f"this box is {name if box.box else 'nobody yet'}"
        )
    if manifest.kind != "release":
        return
    if (manifest.machine, manifest.python) != (box.machine, box.python):
        raise UpdateRefused(
            f"it is for {manifest.machine} with Python {manifest.python}; this box is {box.machine} "
            f"with Python {box.python}"
        )


def _check_version(manifest: Manifest, box: BoxFacts, downgrade: bool) -> None:
    if manifest.minimum_agent is not None and is_version(box.agent) and newer(manifest.minimum_agent, box.agent):
        raise UpdateRefused(f"it needs agent {manifest.minimum_agent} or newer; this box runs {box.agent}")
    installed = box.installed.get(manifest.key)
    if installed is None or newer(manifest.version, installed):
        return
    if not newer(installed, manifest.version):
        raise UpdateRefused(f"version {manifest.version} is what is installed")
    if not downgrade:
        raise UpdateRefused(f"version {manifest.version} is older than {installed}, which is installed")
    if not manifest.allow_downgrade:
        raise UpdateRefused(
            f"version {manifest.version} is older than {installed}, which is installed, and those who signed it "
            f"do not allow that; make it with --allow-downgrade"
        )


def _check_trust(
    file: BinaryIO, head: archive.Head, manifest: Manifest, trust: Trust, signatures: Mapping[str, str], now: Now
) -> None:
    """The new keys must have signed as well: a trust file whose keys nobody has would end all updates."""
    new = new_trust(file, manifest)
    new.require("trust", head.manifest, signatures)
    if str(new.table.version) != manifest.version or new.table.version != trust.table.version + 1:
        raise UpdateRefused(
            f"the trust file says version {new.table.version} and its manifest {manifest.version}; "
            f"wanted {trust.table.version + 1} in both: {trust.where} has {trust.table.version}"
        )
    if now.is_over(new.expires_ms):
        raise UpdateRefused(f"the new trust file has expired on {time_text(new.expires_ms)}")


def new_trust(file: BinaryIO, manifest: Manifest) -> Trust:
    """The trust file that an update carries; file stands at its payload. Raises UpdateRefused."""
    if manifest.files[0].bytes > _MAX_TRUST_BYTES:
        raise UpdateRefused(
            f"the new trust file has {manifest.files[0].bytes} bytes; at most {_MAX_TRUST_BYTES} are taken"
        )
    held = io.BytesIO()
    archive.read_payload(file, manifest.files, lambda _: nullcontext(held))
    try:
        return parse_trust(held.getvalue().decode("utf-8", "replace"), "in the update")
    except ConfigError as exc:
        raise UpdateRefused(str(exc)) from exc
