"""Sensors: asked by one thread per bus, their readings held against limits, what is worth saying sent on."""

from agent.sensing.limits import Limit
from agent.sensing.outputs import OutputKeeper, OutputState
from agent.sensing.quantity import Rules, Said
from agent.sensing.sensing import Sensing
from agent.sensing.sensor import Manner, SensorState, SensorWatch

__all__ = ["Limit", "Manner", "OutputKeeper", "OutputState", "Rules", "Said", "Sensing", "SensorState", "SensorWatch"]
