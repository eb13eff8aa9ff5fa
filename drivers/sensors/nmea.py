"""NMEA 0183 from a GNSS receiver on a serial port: where the box is, and what time it is.

Sentences are taken apart by pynmea2, which takes a line without a checksum for a good one and hands out text where a
number cannot be read; both are refused here. Each second a receiver says RMC (position, time, date) and GGA (quality).
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from datetime import UTC, date, datetime
from datetime import time as time_of_day

import pynmea2

from drivers.base import Reading, SensorInvalid, SensorUnavailable, TimeOffer
from drivers.sensors.serial_port import Port, unavailable

_LINE = re.compile(r"\$[A-Z]{2}(RMC|GGA),[ -#%-)+-~]*\*[0-9A-Fa-f]{2}")
_MAX_LINE = 120  # the standard says 82; some receivers add digits
_FIXES = {1, 2, 3, 4, 5, 9}  # GGA's quality: measured; 6 is dead reckoning, 7 typed in, 8 a simulation


class NmeaSensor:
    """Speaks by itself: read() waits for the next RMC sentence."""

    def __init__(self, sensor_id: str, port: Port, *, offers_time: bool = True) -> None:
        self.sensor_id = sensor_id
        self.bus = f"serial {port.path}"
        self._port = port
        self._is_open = False
        self._rest = b""
        self._gga: pynmea2.types.talker.GGA | None = None
        self._offers_time = offers_time
        self._offer: TimeOffer | None = None

    def open(self) -> None:
        self._rest, self._gga, self._offer = b"", None, None
        try:
            self._port.open()
        except OSError as exc:
            raise unavailable(self.sensor_id, self._port.path, exc) from exc
        self._is_open = True

    def read(self, timeout_s: float) -> list[Reading]:
        if not self._is_open:
            raise SensorUnavailable(f"sensor {self.sensor_id} is not open; call open() first")
        self._offer = None
        deadline_s = time.monotonic() + timeout_s
        heard = bad = 0
        while (left_s := deadline_s - time.monotonic()) > 0:
            try:
                came = self._port.read_some(left_s)
            except OSError as exc:
                raise unavailable(self.sensor_id, self._port.path, exc) from exc
            now_s = time.monotonic()
            heard += len(came)
            for line in self._lines(came):
                try:
                    sentence = parse(line)
                except SensorInvalid:
                    bad += 1  # one garbled line in a while is the cable; only garbled ones are told below
                    continue
                if sentence is not None and sentence.sentence_type == "GGA":
                    self._gga = sentence
                elif sentence is not None:
                    return self._fix(sentence, now_s)
        if not heard:
            raise SensorUnavailable(
                f"sensor {self.sensor_id}: {self._port.path} says nothing for {timeout_s:g} s; is the receiver on?"
            )
        raise SensorInvalid(
            f"sensor {self.sensor_id}: {heard} bytes from {self._port.path}, but no RMC sentence with a right checksum "
            f"({bad} damaged); is the baud rate right?"
        )

    def close(self) -> None:
        self._is_open = False
        with suppress(OSError):  # it is gone, which is what was wanted
            self._port.close()

    def time_offer(self) -> TimeOffer | None:
        return self._offer if self._offers_time else None

    def _lines(self, came: bytes) -> list[str]:
        *lines, self._rest = (self._rest + came).split(b"\n")
        if len(self._rest) > _MAX_LINE:
            self._rest = b""
        return [line.strip().decode("ascii", "replace") for line in lines if line.strip()]

    def _fix(self, rmc: pynmea2.types.talker.RMC, now_s: float) -> list[Reading]:
        gga, self._gga = self._gga, None
        satellites = [] if gga is None else quality(gga, now_s)
        position = where(rmc, now_s)
        if position is None:
            seen = f", {satellites[0].value:g} satellites" if satellites else ""
            raise SensorInvalid(f"sensor {self.sensor_id}: no fix yet{seen}; does the antenna see the sky?")
        utc_ms = when(rmc)
        self._offer = None if utc_ms is None else TimeOffer(utc_ms, now_s)
        return position + satellites


def parse(line: str) -> pynmea2.NMEASentence | None:
    """One line as a sentence. None for kinds we do not use. Raises SensorInvalid for what is damaged."""
    if not _LINE.fullmatch(line):
        if re.fullmatch(r"[$!][A-Za-z0-9]{4,8},[ -~]*", line) and line[3:6] not in ("RMC", "GGA"):
            return None
        raise SensorInvalid(f"{line[:_MAX_LINE]!r} is no whole sentence")
    if len(line) > _MAX_LINE:
        raise SensorInvalid(f"a sentence of {len(line)} characters; wanted at most {_MAX_LINE}")
    try:
        return pynmea2.parse(line, check=True)
    except ValueError as exc:  # its ParseError is one
        raise SensorInvalid(f"{line!r}: {exc.args[0] if exc.args else exc}") from exc


def where(rmc: pynmea2.types.talker.RMC, mono_s: float) -> list[Reading] | None:
    """Latitude and longitude, None without a fix. Raises SensorInvalid for a place that is not on earth."""
    if rmc.status != "A" or len(rmc.data) < 9:
        return None
    if len(rmc.data) >= 12 and rmc.data[11] not in ("", "A", "D", "F", "R", "P"):
        return None  # E estimated, M manual, S simulated, N none
    latitude = _degrees(rmc.data[2], rmc.data[3], "NS", 90)
    longitude = _degrees(rmc.data[4], rmc.data[5], "EW", 180)
    return [Reading("latitude", latitude, "°", mono_s), Reading("longitude", longitude, "°", mono_s)]


def when(rmc: pynmea2.types.talker.RMC) -> int | None:
    """UTC, Unix milliseconds; None where the receiver does not know it (or in a leap second)."""
    if rmc.status != "A":
        return None
    day, clock = rmc.datestamp, rmc.timestamp
    # pynmea2 hands out the text itself where it cannot be read.
    if not isinstance(day, date) or not isinstance(clock, time_of_day) or not re.fullmatch(r"\d{6}", rmc.data[8]):
        return None
    if not re.fullmatch(r"\d{6}(\.\d{1,6})?", rmc.data[0]):
        return None
    return round(datetime.combine(day, clock.replace(tzinfo=UTC)).timestamp() * 1000)


def quality(gga: pynmea2.types.talker.GGA, mono_s: float) -> list[Reading]:
    """How many satellites were used, and how high the antenna is where that was measured."""
    fields = [*gga.data, *[""] * 12]
    readings = []
    if re.fullmatch(r"\d{1,2}", fields[6]):
        readings.append(Reading("satellites", float(fields[6]), "1", mono_s))
    measured = fields[5].isdecimal() and int(fields[5]) in _FIXES
    if measured and fields[9] == "M" and re.fullmatch(r"-?\d{1,5}(\.\d{1,4})?", fields[8]):
        readings.append(Reading("altitude", float(fields[8]), "m", mono_s))
    return readings


def _degrees(text: str, side: str, sides: str, most: int) -> float:
    """ "2102.1234", "N" → 21.035390. Degrees and minutes stand together: the last two digits before the point."""
    if not re.fullmatch(r"\d{3,5}\.\d{1,7}", text) or side not in list(sides):
        raise SensorInvalid(f"position {text!r} {side!r}; wanted degrees, minutes and one of {sides}")
    whole, _, fraction = text.partition(".")
    degrees, minutes = int(whole[:-2]), float(f"{whole[-2:]}.{fraction}")
    value = degrees + minutes / 60
    if minutes >= 60 or value > most:
        raise SensorInvalid(f"position {text!r} {side!r} is not on earth")
    return round(-value if side in "SW" else value, 7)
