"""Pictures for alerts: the best view of what an alert speaks of, other people made unrecognisable, kept for a bounded
time. Of the other stages it knows nothing; `agent.vision` feeds a Witness, `agent.uplink` empties the EvidenceStore."""

from agent.evidence.store import EvidenceStore, Holding
from agent.evidence.witness import Witness, pixelated

__all__ = ["EvidenceStore", "Holding", "Witness", "pixelated"]
