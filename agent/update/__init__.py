"""Signed updates: releases, model packs, configurations and keys, tried and put back by themselves.

    inbox ──▶ claim ──▶ verify ──▶ prepare ──▶ try ──▶ confirmed, or the old one back
                        (trust)    (slots)    (proof)

`machine` is the life of one, `state` how far it is; the agent itself has the smallest part: `proof.Heart`, and
`reporter`, which tells the operations centre what became of each file. `make` is for those who sign.
"""

from agent.update import state
from agent.update.machine import Machine
from agent.update.places import Places, system_places
from agent.update.proof import Heart
from agent.update.reporter import UpdateReporter

__all__ = ["Heart", "Machine", "Places", "UpdateReporter", "state", "system_places"]
