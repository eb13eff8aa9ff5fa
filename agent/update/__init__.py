"""Signed updates: releases, model packs, configurations and keys, tried and put back by themselves.

    inbox ──▶ claim ──▶ verify ──▶ prepare ──▶ try ──▶ confirmed, or the old one back
                        (trust)    (slots)    (proof)

`machine` is the life of one, `state` how far it is; `make` is for those who sign. The agent itself has the smallest
part, which is what can be had from here: `Heart`, by whose pulse it is judged, and `UpdateReporter`, which tells the
operations centre what became of each file. It never loads what verifies and installs.
"""

from agent.update.places import Places, system_places
from agent.update.proof import Heart
from agent.update.reporter import UpdateReporter

__all__ = ["Heart", "Places", "UpdateReporter", "system_places"]
