"""Modbus: meters and stations for air, noise, weather, water and power, by a map of their registers.

The map is the configuration's: which register is what, of which type, in which order of bytes and words, by which
scale and in which unit. Registers that lie side by side are asked for together.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from drivers.base import Reading
from drivers.sensors.modbus_wire import ModbusLink, Table
from drivers.units import check_unit

Type = Literal["uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
Order = Literal["big", "little"]

_FORMATS: dict[Type, str] = {
    "uint16": ">H",
    "int16": ">h",
    "uint32": ">I",
    "int32": ">i",
    "uint64": ">Q",
    "int64": ">q",
    "float32": ">f",
    "float64": ">d",
}
_MOST_REGISTERS = 125  # in one request, by the standard
_MOST_BITS = 2000


def words(kind: Type) -> int:
    """How many registers a value of this type takes."""
    return struct.calcsize(_FORMATS[kind]) // 2


@dataclass(frozen=True, slots=True)
class Register:
    """Where a quantity is and how to read it: value = number in the registers x scale + offset.

    address: from 0, as on the wire. byte_order is that inside a register, word_order that of the registers.
    missing: the number that the device gives when it has none.
    """

    quantity: str
    unit: str
    address: int
    table: Table = "holding"
    kind: Type = "uint16"
    byte_order: Order = "big"
    word_order: Order = "big"
    scale: float = 1.0
    offset: float = 0.0
    missing: int | None = None

    @property
    def is_bit(self) -> bool:
        return self.table in ("coil", "discrete")

    @property
    def count(self) -> int:
        return 1 if self.is_bit else words(self.kind)

    def reading(self, raw: Sequence[int], mono_s: float) -> Reading:
        """raw: `count` registers, or one bit."""
        number = float(raw[0]) if self.is_bit else self._number(raw)
        if self.missing is not None and number == self.missing:
            return Reading(self.quantity, math.nan, self.unit, mono_s, f"the device has no value ({self.missing})")
        if not math.isfinite(number):
            return Reading(self.quantity, math.nan, self.unit, mono_s, f"the device gives {number}, which is no number")
        # Twelve digits: 231 x 0.1 is 23.1 and not 23.1 and a little.
        value = float(f"{number * self.scale + self.offset:.12g}")
        return Reading(self.quantity, value, self.unit, mono_s)

    def _number(self, raw: Sequence[int]) -> float:
        ordered = reversed(raw) if self.word_order == "little" else raw
        data = b"".join(word.to_bytes(2, self.byte_order) for word in ordered)
        (number,) = struct.unpack(_FORMATS[self.kind], data)
        # Of the 4 bytes of a float, seven digits are the device's: 0.4 is not 0.4000000059604645.
        return float(f"{number:.7g}") if self.kind == "float32" else float(number)


class ModbusSensor:
    """One device of a link, and its registers."""

    def __init__(self, sensor_id: str, link: ModbusLink, device: int, registers: Sequence[Register]) -> None:
        if not registers:
            raise ValueError(f"sensor {sensor_id}: no registers; wanted at least one")
        for register in registers:
            check_unit(register.unit)
        self.sensor_id = sensor_id
        self.bus = f"modbus {link.where}"
        self._link = link
        self._device = device
        self._runs = _runs(registers)
        self._open_timeout_s = 3.0

    def open(self) -> None:
        self._link.open(self.sensor_id, self._open_timeout_s)

    def read(self, timeout_s: float) -> list[Reading]:
        deadline_s = time.monotonic() + timeout_s
        readings = []
        for run in self._runs:
            first = run[0].address
            count = max(register.address + register.count for register in run) - first
            left_s = max(deadline_s - time.monotonic(), 0.001)
            raw = self._link.ask(self.sensor_id, self._device, run[0].table, first, count, left_s)
            now_s = time.monotonic()
            for register in run:
                start = register.address - first
                readings.append(register.reading(raw[start : start + register.count], now_s))
        return readings

    def close(self) -> None:
        self._link.close(self.sensor_id)


def _runs(registers: Sequence[Register]) -> list[list[Register]]:
    """Neighbours together, by table and address; a hole ends a run, as many devices refuse to read over one."""
    ordered = sorted(registers, key=lambda register: (register.table, register.address))
    runs = [[ordered[0]]]
    for before, register in pairwise(ordered):
        run = runs[-1]
        most = _MOST_BITS if register.is_bit else _MOST_REGISTERS
        fits = register.address + register.count - run[0].address <= most
        end = max(r.address + r.count for r in run)
        if register.table == before.table and register.address <= end and fits:
            run.append(register)
        else:
            runs.append([register])
    return runs
