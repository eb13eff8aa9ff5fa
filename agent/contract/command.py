"""What the operations centre may ask of a box, who may ask it, and the box's answers. Off the ledger.

A request is a JSON Web Token (RFC 7519, compact form) signed with Ed25519 (RFC 8037) by a key of the box's trust.toml:
whatever a broker lets through, a box does what one of these keys has signed, for this box, not expired, and once for
one id. The answer goes to the MQTT 5 response topic with the request's correlation data, or to `…/reply` with the
request's id for clients that speak 3.1.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import ConfigDict, Field, StringConstraints, ValidationError, model_validator

from agent.contract.box import Part
from agent.contract.event import Stream
from agent.contract.wire import PayloadError

TOKEN_TYPE = "gw-command+jwt"  # the header's `typ` (RFC 8725, 3.11): a token made for anything else is no command
ALGORITHM = "EdDSA"
MAX_TOKEN_BYTES = 250 * 1024
MAX_LIFE_S = 7 * 24 * 3600

Role = Literal["viewer", "operator", "engineer", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Each may do what those before it may."""

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Source = Annotated[str, StringConstraints(min_length=1, max_length=32)]
Note = Annotated[str | None, Field(default=None, max_length=500, description="why; kept with the alert and in the log")]


class Args(Part):
    """Of one command. An argument that this agent does not know is refused: it may be a condition."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Nothing(Args):
    """No arguments."""


class SnapshotArgs(Args):
    """One camera."""

    camera: Source = Field(description="its id")


class EvidenceArgs(Args):
    """One picture."""

    evidence: Source = Field(description="the picture's id, from the alert that names it")


class ResendArgs(Args):
    """A range of the ledger, both ends included."""

    stream: Stream = Field(description="of which stream")
    epoch: int = Field(ge=0, le=0xFFFFFFFF, description="of which epoch")
    first: int = Field(ge=1, description="first sequence number wanted")
    last: int = Field(ge=1, description="last one")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.last < self.first:
            raise ValueError(f"last {self.last} is before first {self.first}")
        return self


class AlertRef(Args):
    """One alert: by its `alert` where it has one, else by its numbers on the stream alert."""

    alert: str | None = Field(default=None, min_length=1, max_length=64, description="the alert's id")
    epoch: int | None = Field(default=None, ge=0, le=0xFFFFFFFF, description="of an alert without one: its epoch")
    seq: int | None = Field(default=None, ge=1, description="and its sequence number")
    note: Note

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        by_numbers = self.epoch is not None and self.seq is not None
        if (self.alert is not None) == by_numbers or (self.epoch is None) != (self.seq is None):
            raise ValueError("wanted either alert, or epoch and seq")
        return self


class AckArgs(AlertRef):
    """One alert, and for how long it is taken."""

    hold_s: float | None = Field(
        default=None, ge=0, le=86_400, description="for so long it is not raised again; without it for an hour"
    )


class ResolveArgs(AlertRef):
    """One alert."""


class ConfigSetArgs(Args):
    """A whole file or a patch of single keys."""

    toml: str | None = Field(default=None, description="the whole gateway.toml")
    patch: dict[str, Any] | None = Field(
        default=None, description='keys and what they shall be, such as {"camera.north.fps": 8}; null takes away'
    )
    base: str | None = Field(
        default=None, max_length=64, description="only if the box's configuration has this version now"
    )
    within_s: int = Field(default=300, ge=30, le=3600, description="to be healthy again by then, or it is rolled back")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.toml is None) == (self.patch is None):
            raise ValueError("wanted toml or patch, one of the two")
        return self


class RuleEnableArgs(Args):
    """One rule of one camera."""

    camera: Source = Field(description="the camera's id")
    rule: Source = Field(description="the rule's id")
    enabled: bool = Field(description="whether it is to apply")


class FetchArgs(Args):
    """A signed update file, fetched by the box."""

    url: str = Field(pattern=r"^https://", max_length=2000, description="its server's certificate is checked")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of the whole file, hexadecimal")
    bytes: int = Field(ge=1, le=1 << 30, description="its size")


@dataclass(frozen=True, slots=True)
class Known:
    """One command: the least role that may ask for it, its arguments, what it does.

    looks: it changes nothing on the box, so it is also done where nothing can be written down.
    """

    role: Role
    args: type[Args]
    words: str
    looks: bool = False


COMMANDS: dict[str, Known] = {
    "ping": Known("viewer", Nothing, "answers: versions, how long it runs, what waits in the outbox", True),
    "config.get": Known(
        "viewer", Nothing, "tells the configuration: its text, its version, and what is being tried", True
    ),
    "snapshot": Known("operator", SnapshotArgs, "takes a picture now, everybody in it pixelated, and sends it", True),
    "evidence": Known("operator", EvidenceArgs, "sends the picture of an alert", True),
    "resend": Known("operator", ResendArgs, "sends a range of the ledger again, or says why it cannot"),
    "ack": Known("operator", AckArgs, "an operator takes an alert; it is not raised again for a while"),
    "resolve": Known("operator", ResolveArgs, "an operator closes an alert"),
    "diagnostics": Known("engineer", Nothing, "makes the doctor's bundle, without secrets, and sends it", True),
    "config.set": Known("engineer", ConfigSetArgs, "changes the configuration; undone by itself if the box gets worse"),
    "rule.enable": Known("engineer", RuleEnableArgs, "switches one rule of one camera on or off, as config.set does"),
    "restart": Known("engineer", Nothing, "ends the agent; systemd starts it anew"),
    "reboot": Known("engineer", Nothing, "starts the whole box anew"),
    "model.install": Known("admin", FetchArgs, "fetches and tries a signed model pack"),
    "agent.update": Known("admin", FetchArgs, "fetches and tries a signed release of the agent"),
}


class Command(Part):
    """The claims of a request's token. Times are Unix seconds, as RFC 7519 has them."""

    jti: Id = Field(description="the request's id: what has it is done at most once, and it comes back in the answer")
    aud: str | list[str] = Field(description='"site/box", or a list of such: which boxes are meant')
    iat: int = Field(ge=0, description="when it was signed")
    exp: int = Field(ge=0, description="not done after this; at most 7 days after iat")
    cmd: str = Field(min_length=1, max_length=64, description="the command's name")
    args: dict[str, Any] = Field(default_factory=dict, description="its arguments")
    by: str | None = Field(
        default=None, min_length=1, max_length=64, description="who wants it, where several people use one key"
    )

    @property
    def boxes(self) -> list[str]:
        return [self.aud] if isinstance(self.aud, str) else self.aud


Result = Literal["accepted", "done", "refused", "failed"]


class Reply(Part):
    """The box's answer. `accepted` is followed by one of the others, after a restart of the box if need be."""

    result: Result = Field(
        description="refused: nothing was done; failed: it was begun, and did not come to a good end"
    )
    command: str | None = Field(default=None, description="what was asked for")
    id: str | None = Field(default=None, description="the request's id, as far as it could be read")
    why: str | None = Field(default=None, description="with refused and failed: what was wrong, and what was wanted")
    data: dict[str, Any] | None = Field(default=None, description="with done and accepted: what the command returns")
    earlier: bool | None = Field(
        default=None, description="the id had come before: this is what was answered then, and nothing was done again"
    )
    doubt: str | None = Field(default=None, description="what the box could not tell, such as whether it had expired")


def read_args(name: str, args: dict[str, Any]) -> Args:
    """Of a command that is known. Raises PayloadError naming the argument, what was found and what is wanted."""
    try:
        return COMMANDS[name].args.model_validate(args)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        known = ", ".join(COMMANDS[name].args.model_fields) or "none"
        raise PayloadError(f"args{'.' + where if where else ''}: {first['msg']}; arguments of {name}: {known}") from exc
