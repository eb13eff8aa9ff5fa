"""The units that readings come in, each with the range outside of which a value is absurd, whatever the sensor.

A closed list, so that the operations centre never meets two spellings of one unit. The ranges are those of nature and
of instruments anywhere, not of a good day: a sensor's own, narrower range is the driver's or the configuration's.
"""

from __future__ import annotations

UNITS: dict[str, tuple[float, float]] = {
    "bool": (0.0, 1.0),  # 1 on, 0 off
    "1": (-1e12, 1e12),  # a plain number: a count, a ratio, an index
    "%": (0.0, 100.0),
    "°": (-360.0, 360.0),
    "°C": (-273.15, 1500.0),
    "K": (0.0, 1773.15),
    "Pa": (0.0, 1e8),
    "hPa": (0.0, 1e6),
    "kPa": (0.0, 1e5),
    "bar": (0.0, 1000.0),
    "µg/m³": (0.0, 100_000.0),
    "mg/m³": (0.0, 10_000.0),
    "ppm": (0.0, 1_000_000.0),
    "ppb": (0.0, 1e9),
    "dB": (-20.0, 194.0),  # above 194 dB air cannot swing
    "dBA": (-20.0, 194.0),
    "lx": (0.0, 200_000.0),
    "W/m²": (-100.0, 2000.0),
    "mm": (-1e6, 1e6),
    "cm": (-1e5, 1e5),
    "m": (-12_000.0, 20_000.0),
    "mm/h": (0.0, 2000.0),
    "m/s": (-400.0, 400.0),
    "km/h": (-1500.0, 1500.0),
    "m³/h": (-1e6, 1e6),
    "L/s": (-1e6, 1e6),
    "V": (-1e6, 1e6),
    "mV": (-1e9, 1e9),
    "A": (-1e5, 1e5),
    "mA": (-1e8, 1e8),
    "W": (-1e9, 1e9),
    "kW": (-1e6, 1e6),
    "var": (-1e9, 1e9),
    "VA": (0.0, 1e9),
    "Wh": (-1e15, 1e15),
    "kWh": (-1e12, 1e12),
    "Hz": (0.0, 1e6),
    "s": (0.0, 1e10),
    "min": (0.0, 1e9),
    "pH": (-2.0, 16.0),
    "NTU": (0.0, 100_000.0),
    "µS/cm": (0.0, 1e6),
    "mg/L": (0.0, 1e6),
}

# What people write instead, or find on a data sheet.
_SPELLINGS = {
    "C": "°C",
    "degC": "°C",
    "ug/m3": "µg/m³",
    "µg/m3": "µg/m³",
    "ug/m³": "µg/m³",
    "mg/m3": "mg/m³",
    "W/m2": "W/m²",
    "m3/h": "m³/h",
    "l/s": "L/s",
    "mg/l": "mg/L",
    "uS/cm": "µS/cm",
    "dB(A)": "dBA",
    "lux": "lx",
    "deg": "°",
    "%RH": "%",
}


def check_unit(unit: str) -> str:
    """The unit itself, if readings may come in it. Raises ValueError with the spelling that is meant, or with all."""
    plain = unit.replace("\u03bc", "µ")  # the Greek letter looks like the micro sign
    if plain in UNITS:
        return plain
    meant = _SPELLINGS.get(plain)
    known = f"did you mean {meant!r}?" if meant else f"wanted one of: {' '.join(UNITS)}"
    raise ValueError(f"unit {unit!r} is not known; {known}")


def absurd(value: float, unit: str) -> str | None:
    """Why a value in this unit cannot be true, None if it can. NaN and infinity never are."""
    if unit not in UNITS:
        return f"unit {unit!r} is not known; wanted one of: {' '.join(UNITS)}"
    low, high = UNITS[unit]
    if low <= value <= high:
        return None
    return f"{value:g} {unit} cannot be; wanted {low:g} to {high:g}"
