"""What tests of updates need: people with keys, files they signed, and a box's folders."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.update import archive, keys
from agent.update.manifest import NAMES, Manifest, Payload, canonical, this_machine, this_python
from agent.update.places import Places

NOW_MS = 1_800_000_000_000  # 2027-01-15, as FakeClock is set in these tests
CREATED, EXPIRES = "2027-01-01T00:00:00Z", "2027-06-01T00:00:00Z"

# The same for every run: whoever reads a failure can compare.
PEOPLE: dict[str, Ed25519PrivateKey] = {
    name: Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
    for name in ("anh", "binh", "chi", "dung", "mallory")
}


def trust_text(
    *names: str,
    version: int = 1,
    expires: str = "2030-01-01T00:00:00Z",
    threshold: Mapping[str, int] | None = None,
    may_sign: Sequence[str] = ("release", "pack", "config", "trust"),
) -> str:
    thresholds = {"release": 2, "pack": 2, "config": 1, "trust": 2, **(threshold or {})}
    lines = [f"version = {version}", f"expires = {expires}", "[threshold]"]
    lines += [f"{kind} = {number}" for kind, number in thresholds.items()]
    for name in names or ("anh", "binh", "chi"):
        public = keys.public_hex(PEOPLE[name])
        lines += [f"[key.{name}]", f'public = "{public}"', f"may_sign = {list(may_sign)}"]
    return "\n".join(lines).replace("'", '"') + "\n"


def update_file(
    files: Mapping[str, bytes], *signers: str, kind: str = "release", version: str = "0.2.0", **fields: Any
) -> bytes:
    """An update file, signed by these. fields: of the manifest, in place of what an ordinary one has."""
    head, manifest = signed_head(files, *(signers or ("anh", "binh")), kind=kind, version=version, **fields)
    out = io.BytesIO()
    archive.write(out, head, manifest.files, lambda name: io.BytesIO(files[name]))
    return out.getvalue()


def signed_head(
    files: Mapping[str, bytes], *signers: str, kind: str = "release", version: str = "0.2.0", **fields: Any
) -> tuple[archive.Head, Manifest]:
    if kind == "release":
        fields = {"machine": this_machine(), "python": this_python(), **fields}
    manifest = Manifest.model_validate(
        {
            "kind": kind,
            "name": NAMES.get(kind, "pack"),
            "version": version,
            "created": CREATED,
            "expires": EXPIRES,
            "files": tuple(
                Payload(name=name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
                for name, content in files.items()
            ),
            **fields,
        }
    )
    return archive.Head(manifest.canonical(), signatures(manifest.canonical(), *signers)), manifest


def signatures(manifest: bytes, *signers: str) -> bytes:
    return canonical(
        {keys.key_id(keys.public_hex(PEOPLE[name])): keys.sign(PEOPLE[name], manifest) for name in signers}
    )


@dataclass
class Folders:
    """A box in a folder: configuration, trust, and the places of a release that is proven."""

    top: Path
    places: Places = field(init=False)

    def __post_init__(self) -> None:
        self.places = Places(self.top / "opt", self.top / "etc" / "gateway.toml", self.top / "var", self.top / "run")
        for folder in (self.places.releases, self.places.config.parent, self.places.agent_inbox, self.places.run):
            folder.mkdir(parents=True)

    def set_up(self, version: str = "0.1.0", *, config: str, trust: str) -> None:
        self.places.config.write_text(config)
        self.places.config.chmod(0o640)
        self.places.trust.write_text(trust)
        (self.places.releases / version).mkdir()
        for link in (self.places.current, self.places.proven):
            link.symlink_to(f"releases/{version}")

    def drop(self, content: bytes, name: str = "gateway-update-1.gwu") -> Path:
        """Into the service's inbox."""
        path = self.places.agent_inbox / name
        path.write_bytes(content)
        return path
