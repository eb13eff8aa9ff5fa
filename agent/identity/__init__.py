"""Who the box is: its own key, which never leaves it, and the certificate for it. See `agent.identity.identity`."""

from agent.identity.certificate import Unusable, box_name, days_left, fingerprint, read_fingerprint
from agent.identity.est import EstServer
from agent.identity.identity import Identity, Outcome, Trust, Verdict

__all__ = [
    "EstServer",
    "Identity",
    "Outcome",
    "Trust",
    "Unusable",
    "Verdict",
    "box_name",
    "days_left",
    "fingerprint",
    "read_fingerprint",
]
