"""The agent's own errors, split by what the caller does about them (those of devices are in `drivers.base`).

GatewayError
├── ConfigError       the configuration cannot be used: exit 78, a restart cannot mend it
├── EventStoreError   the outbox cannot take or give events now: keep the event, try again, say so in health
├── UplinkDown        the broker cannot be reached or refuses us: keep buffering, connect again
├── DatabaseDown      the ingester's database cannot be reached or has no room: acknowledge nothing, write it again
├── IdentityError     the box's certificate cannot be had, or used: what there was stays, a person or the timer goes on
├── UpdateRefused     an update file is not to be installed: keep what runs, and report why
├── CommandRefused    a command is not to be done, and nothing was: answer with the reason
└── CommandFailed     a command was begun and came to no good end: answer with the reason
"""


class GatewayError(Exception):
    """Anything that went wrong outside the program's own logic."""


class ConfigError(GatewayError):
    """The configuration file, or what it names, is wrong."""


class EventStoreError(GatewayError):
    """The outbox could not read or write its file."""


class UplinkDown(GatewayError):
    """No usable connection to the broker."""


class DatabaseDown(GatewayError):
    """No usable connection to the ingester's database."""


class IdentityError(GatewayError):
    """The box's key or certificate, or the authority that should certify it."""


class UpdateRefused(GatewayError):
    """An update file that must not, or cannot, be installed here."""


class CommandRefused(GatewayError):
    """A command that must not, or cannot, be done here. The words go back to whoever asked."""


class CommandFailed(GatewayError):
    """A command that was begun. The words go back to whoever asked."""
