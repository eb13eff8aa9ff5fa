"""What the link needs to know, as plain values; the configuration's door fills them in."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from pathlib import Path

from agent.contract.topics import BoxTopics
from agent.contract.wire import Form
from agent.errors import ConfigError
from agent.secret_file import warn_if_open
from agent.tls import IdentityFolder, client_context


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS 1.2 or newer; the broker's certificate must name the host that was asked for.

    ca: PEM file of the authorities to trust; None = the identity's, or else the system's. certificate, key: ours, PEM;
    both or none. identity: where the box keeps what it was certified with, used for what is not given here once it is
    there; a certificate that was renewed counts from the next connection on.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    identity: IdentityFolder | None = None

    def context(self) -> ssl.SSLContext:
        """Raises ConfigError naming the file that cannot be used. Reads the files anew, so renewed ones count."""
        if (self.certificate is None) != (self.key is None):
            raise ConfigError(f"TLS: certificate {self.certificate} and key {self.key}: wanted both or none")
        ca, certificate = self.ca, self.own()
        if ca is None and self.identity is not None and self.identity.has(self.identity.ca):
            ca = self.identity.ca
        if certificate is not None:
            warn_if_open(self.key or certificate)
        return client_context(ca, certificate=certificate, key=self.key)

    def with_identity(self, identity: IdentityFolder | None) -> Tls:
        return replace(self, identity=identity)

    def own(self) -> Path | None:
        """The file of our certificate that is in use now. Raises ConfigError, as context() does."""
        if self.certificate is None and self.identity is not None and self.identity.has(self.identity.pair):
            return self.identity.pair
        return self.certificate


@dataclass(frozen=True, slots=True)
class Broker:
    host: str
    port: int = 1883
    tls: Tls | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Login:
    """username, and the file that holds the password alone (a trailing newline is not part of it)."""

    username: str
    password_file: Path | None = None

    def password(self) -> str | None:
        """Raises ConfigError if the file cannot be read."""
        if self.password_file is None:
            return None
        try:
            warn_if_open(self.password_file)
            return self.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"{self.password_file}: cannot read the broker's password: {exc}") from exc


@dataclass(frozen=True, slots=True)
class UplinkSettings:
    """brokers: tried in this order at every attempt; from a later one back to the first when that can be reached again.

    client_id: None = made of site and box, which are unique.
    """

    site: str
    box: str
    brokers: tuple[Broker, ...]
    client_id: str | None = None
    login: Login | None = None
    payload: Form = "json"
    keepalive_s: int = 20
    connect_timeout_s: float = 10.0
    ack_timeout_s: float = 30.0  # longer without an acknowledgement we wait for: the connection is dead, connect anew
    return_after_s: float = 600.0  # with a later broker, how often to see whether the first is back
    session_expiry_s: int = 7 * 24 * 3600  # how long the broker keeps commands for a box that is away
    max_bytes_per_s: int | None = None  # of ledger messages, for metered links; None = no limit
    burst_bytes: int = 16 * 1024  # may leave at once after a quiet time
    agent_version: str = "0"

    @property
    def topics(self) -> BoxTopics:
        return BoxTopics(self.site, self.box)

    def check(self) -> None:
        """Raises ConfigError for what no waiting can mend."""
        try:
            BoxTopics(self.site, self.box)
        except ValueError as exc:
            raise ConfigError(str(exc)) from exc
        if not self.brokers:
            raise ConfigError("no broker; wanted at least one host to connect to")
        for broker in self.brokers:
            if broker.tls is not None:
                # Not the identity: `identity enrol` or the next renewal mends it, and meanwhile there is the outbox.
                broker.tls.with_identity(None).context()
        if self.login is not None:
            self.login.password()
