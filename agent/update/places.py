"""Where things are on a box. Everything root decides by is root's own; what the service's user may write is an inbox.

/opt/gateway-agent/
  releases/<version>/      one environment per release, never changed once it is made
  current  -> releases/…   what the service runs
  proven   -> releases/…   the last one that proved itself: its code does the updating, so none can break it
  previous -> releases/…   the one before that
  packs/<name> -> ../pack-versions/<name>-<version>
  files                    what provisioning put elsewhere, units above all
  update/                  state.json, inbox/, work/, config.before
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """root: /opt/gateway-agent. config: the box's gateway.toml. var: the service's lasting folder. run: until boot.
    system: below which /etc and /usr are."""

    root: Path
    config: Path
    var: Path
    run: Path
    system: Path = Path("/")

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    @property
    def current(self) -> Path:
        return self.root / "current"

    @property
    def proven(self) -> Path:
        return self.root / "proven"

    @property
    def previous(self) -> Path:
        return self.root / "previous"

    @property
    def packs(self) -> Path:
        return self.root / "packs"

    @property
    def pack_versions(self) -> Path:
        return self.root / "pack-versions"

    @property
    def update(self) -> Path:
        return self.root / "update"

    @property
    def state(self) -> Path:
        return self.update / "state.json"

    @property
    def inbox(self) -> Path:
        """Root's: from a stick, or from a person."""
        return self.update / "inbox"

    @property
    def agent_inbox(self) -> Path:
        """The service's: what came over the network. Believed in nothing."""
        return self.var / "updates" / "inbox"

    @property
    def work(self) -> Path:
        return self.update / "work"

    @property
    def units_list(self) -> Path:
        """Made by provisioning: what was put outside of these folders, a path a line."""
        return self.root / "files"

    @property
    def config_before(self) -> Path:
        return self.update / "config.before"

    @property
    def trust(self) -> Path:
        return self.config.parent / "trust.toml"

    @property
    def pulse(self) -> Path:
        return self.run / "pulse.json"


def system_places(config: Path) -> Places:
    """This box's. The variables are systemd's own, but for the first, which is for other places than the usual."""
    return Places(
        Path(os.environ.get("GATEWAY_AGENT_ROOT", "/opt/gateway-agent")),
        config,
        Path(os.environ.get("STATE_DIRECTORY", "/var/lib/gateway-agent")),
        Path(os.environ.get("RUNTIME_DIRECTORY", "/run/gateway-agent")),
    )
