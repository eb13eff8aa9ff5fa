"""What is connected to this machine beside cameras: ports for sensors, accelerators, temperatures.

Read from what the kernel shows in files, with a few harmless questions to device nodes. Nothing is switched, written or
claimed; only `i2c.probe`, which has to be asked for, speaks to devices on a bus. Every list takes the root of a file
system, so that a folder of made-up files is a machine.
"""

from drivers.inventory.accelerators import list_accelerators
from drivers.inventory.found import Found
from drivers.inventory.ports import list_ports

__all__ = ["Found", "list_accelerators", "list_ports"]
