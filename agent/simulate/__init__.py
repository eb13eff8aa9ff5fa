"""Boxes without cameras, to try out a broker and a centre: see `agent.simulate.fleet`.

What a box says is made up (`traffic`); how it is kept, numbered and sent is the agent's own outbox and link.
"""

from agent.simulate.fleet import Fleet, Plan, simulate
from agent.simulate.traffic import TYPICAL, Gateway, Happening, traffic

__all__ = ["TYPICAL", "Fleet", "Gateway", "Happening", "Plan", "simulate", "traffic"]
