"""The part of the configuration's door that is about sensors and outputs: `[[sensor]]` and `[[output]]`.

Each driver has a model with its own keys, so that a key of one is a mistake at another. Nothing is opened here.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag, model_validator

from agent.config_table import Id, Table, refuse_repeats
from drivers.sensors.plugins import plugin_names
from drivers.units import UNITS, check_unit

Severity = Literal["info", "warning", "critical"]
Unit = Annotated[str, AfterValidator(check_unit)]
Address = Annotated[int, Field(ge=0x03, le=0x77)]


def _hwmon_path(path: str) -> str:
    from drivers.sensors.sysfs import kind_of

    kind_of(PurePath(path).name)
    return path


class LimitConfig(Table):
    """A bound; passing it raises an alert, coming back clears it."""

    id: Id = Field(description="the rule's name in the alert")
    quantity: Id | None = Field(None, description="which quantity; not needed for a sensor that has only one")
    above: float | None = Field(None, description="raised when the value is above this")
    below: float | None = Field(None, description="raised when the value is below this")
    rises_per_min: float | None = Field(None, gt=0, description="raised when it rises faster than this in a minute")
    falls_per_min: float | None = Field(None, gt=0, description="raised when it falls faster than this in a minute")
    clear: float | None = Field(None, description="where it is over; rates: half, others: the bound itself")
    hold_s: float = Field(0.0, ge=0, le=86400, description="beyond for so long before it is raised, and back to clear")
    over_s: float = Field(60.0, ge=1, le=86400, description="rates are measured over so long")
    severity: Severity = "warning"

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        bounds = [self.above, self.below, self.rises_per_min, self.falls_per_min]
        given = sum(bound is not None for bound in bounds)
        if given != 1:
            raise ValueError(f"{given} bounds; wanted exactly one of above, below, rises_per_min, falls_per_min")
        clear = self.clear
        if clear is not None and self.above is not None and clear > self.above:
            raise ValueError(f"clear = {clear:g} is above {self.above:g}; wanted at most that")
        if clear is not None and self.below is not None and clear < self.below:
            raise ValueError(f"clear = {clear:g} is below {self.below:g}; wanted at least that")
        rate = self.rises_per_min or self.falls_per_min
        if clear is not None and rate is not None and not 0 <= clear <= rate:
            raise ValueError(f"clear = {clear:g}; wanted 0 to {rate:g}")
        return self


class QuantityConfig(Table):
    """How one quantity is judged and told."""

    id: Id = Field(description="the quantity's name")
    name: str | None = Field(None, min_length=1, max_length=64, description="what people call it; goes with alerts")
    valid: tuple[float, float] | None = Field(None, description="[lowest, highest]: outside of it no reading")
    deadband: float | None = Field(None, ge=0, description="a smaller change waits for the heartbeat")
    heartbeat_s: float = Field(300.0, ge=1, le=86400, description="told at least this often")
    stuck_s: float | None = Field(None, gt=0, le=2_592_000, description="not moving at all for so long is an alert")
    severity: Severity = Field("warning", description="of the alert of an input")
    hold_s: float = Field(0.0, ge=0, le=3600, description="an input must be on, or off, for so long")

    @model_validator(mode="after")
    def _valid_is_a_range(self) -> Self:
        if self.valid is not None and self.valid[0] >= self.valid[1]:
            raise ValueError(f"valid = {list(self.valid)}; wanted [lowest, highest]")
        return self


class RegisterConfig(QuantityConfig):
    """A quantity in the registers of a Modbus device: value = number x scale + offset."""

    unit: Unit = Field(description="of the value")
    register_: int = Field(ge=0, le=65535, alias="register", description="address, from 0")
    table: Literal["holding", "input", "coil", "discrete"] = "holding"
    type: Literal["uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"] = "uint16"
    byte_order: Literal["big", "little"] = Field("big", description="inside a register")
    word_order: Literal["big", "little"] = Field("big", description="of the registers")
    scale: float = 1.0
    offset: float = 0.0
    missing: int | None = Field(None, description="the number that says there is no value")

    @model_validator(mode="after")
    def _bits_are_on_or_off(self) -> Self:
        is_bit = self.table in ("coil", "discrete")
        if is_bit != (self.unit == "bool"):
            raise ValueError(
                f'table = "{self.table}" with unit = "{self.unit}"; wanted unit = "bool" for coils and '
                "discrete inputs, and for them alone"
            )
        if self.scale == 0:
            raise ValueError("scale = 0 makes every value the same; wanted another number")
        return self


class ContactConfig(QuantityConfig):
    """A contact on a GPIO line."""

    line: int | str = Field(description="number on the chip, or name")
    active: Literal["high", "low"] = Field("high", description="the voltage that means on: open, lost")
    bias: Literal["as-is", "pull-up", "pull-down", "none"] = "as-is"
    debounce_ms: int = Field(5, ge=0, le=1000, description="a contact bounces for so long")


class SensorBase(Table):
    """What every sensor has."""

    UNITS_OF: ClassVar[Mapping[str, str]] = {}  # quantity → unit, where the driver knows them

    id: Id = Field(description="the sensor's name; part of its topics")
    driver: str = Field(description="how it is connected")
    name: str | None = Field(None, min_length=1, max_length=64, description="what people call it; goes with alerts")
    interval_s: float = Field(10.0, ge=0, le=86400, description="from one question to the next")
    timeout_s: float = Field(2.0, gt=0, le=60, description="for an answer")
    stale_s: float | None = Field(None, gt=0, le=86400, description="without a good answer for so long: an alert")
    quantity: tuple[QuantityConfig, ...] = ()
    limit: tuple[LimitConfig, ...] = ()

    def units(self) -> Mapping[str, str]:
        """The unit of each quantity; empty where only the device knows."""
        return self.UNITS_OF

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        units = self.units()
        refuse_repeats("quantity", [quantity.id for quantity in self.quantity])
        inputs = [name for name, unit in units.items() if unit == "bool"]
        refuse_repeats("limit", [*(limit.id for limit in self.limit), *inputs])
        known = ", ".join(units)
        for quantity in self.quantity:
            if units and quantity.id not in units:
                raise ValueError(f"no quantity {quantity.id!r}; this driver gives: {known}")
            if quantity.valid is not None and quantity.id in units:
                low, high = UNITS[units[quantity.id]]
                if quantity.valid[1] < low or quantity.valid[0] > high:
                    raise ValueError(f"valid = {list(quantity.valid)} of {quantity.id!r} never is: {low:g} to {high:g}")
        for limit in self.limit:
            self._limit_fits(limit, units)
        return self

    def _limit_fits(self, limit: LimitConfig, units: Mapping[str, str]) -> None:
        name = limit.quantity or next(iter(units), None)
        if limit.quantity is None and len(units) != 1:
            raise ValueError(
                f"limit {limit.id!r} does not say which quantity; wanted quantity = one of: {', '.join(units)}"
            )
        if units and name not in units:
            raise ValueError(f"limit {limit.id!r} is on the quantity {name!r}; this sensor has: {', '.join(units)}")
        if name is not None and units.get(name) == "bool":
            raise ValueError(f"limit {limit.id!r} is on {name!r}, which is on or off: it raises an alert by itself")


class _ModbusSensor(SensorBase):
    device: int = Field(1, ge=0, le=255, description="the device's number")
    quantity: tuple[RegisterConfig, ...] = Field(min_length=1)

    def units(self) -> Mapping[str, str]:
        return {quantity.id: quantity.unit for quantity in self.quantity}


class ModbusTcpConfig(_ModbusSensor):
    """A Modbus device in the network."""

    driver: Literal["modbus-tcp"]
    host: str = Field(min_length=1, description="name or address")
    port: int = Field(502, ge=1, le=65535)
    framing: Literal["tcp", "rtu"] = Field("tcp", description="rtu behind a plain serial-to-network converter")


class ModbusRtuConfig(_ModbusSensor):
    """A Modbus device on a serial line."""

    driver: Literal["modbus-rtu"]
    port: str = Field(pattern="^/", description="/dev/serial/by-id/…")
    baud: int = Field(9600, ge=300, le=4_000_000)
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1


class GpioConfig(SensorBase):
    """Contacts on GPIO lines: doors, tamper, mains."""

    driver: Literal["gpio"]
    chip: str = Field("/dev/gpiochip0", pattern="^/")
    interval_s: Literal[0] = Field(0, description="a change is told at once")
    timeout_s: float = Field(1.0, gt=0, le=60, description="levels are looked at this often even without a change")
    quantity: tuple[ContactConfig, ...] = Field(min_length=1)

    def units(self) -> Mapping[str, str]:
        return {quantity.id: "bool" for quantity in self.quantity}


class NmeaConfig(SensorBase):
    """A GNSS receiver on a serial port."""

    UNITS_OF: ClassVar[Mapping[str, str]] = {"latitude": "°", "longitude": "°", "altitude": "m", "satellites": "1"}

    driver: Literal["nmea"]
    port: str = Field(pattern="^/", description="/dev/serial/by-id/…")
    baud: int = Field(9600, ge=300, le=4_000_000)
    interval_s: Literal[0] = Field(0, description="it speaks by itself")
    timeout_s: float = Field(3.0, gt=0, le=60, description="without a sentence for so long it is opened anew")
    stale_s: float | None = Field(900.0, gt=0, le=86400, description="a cold receiver takes minutes to its first fix")
    offer_time: bool = Field(True, description="its time labels what happens where no time server can be reached")


class Bme280Config(SensorBase):
    """Temperature, humidity and pressure of the air."""

    UNITS_OF: ClassVar[Mapping[str, str]] = {"temperature": "°C", "humidity": "%", "pressure": "hPa"}

    driver: Literal["bme280"]
    port: str = Field("/dev/i2c-1", pattern="^/")
    address: Address = Field(0x76, description="0x76 or 0x77")


class Ina219Config(SensorBase):
    """Voltage, current and power of a supply."""

    UNITS_OF: ClassVar[Mapping[str, str]] = {"voltage": "V", "current": "A", "power": "W"}

    driver: Literal["ina219"]
    port: str = Field("/dev/i2c-1", pattern="^/")
    address: Address = Field(0x40, description="0x40 to 0x4f")
    shunt_ohm: float = Field(0.1, gt=0, le=100, description="the resistor that the current flows through")


class Ds18b20Config(SensorBase):
    """A 1-wire thermometer."""

    UNITS_OF: ClassVar[Mapping[str, str]] = {"temperature": "°C"}

    driver: Literal["ds18b20"]
    device: str = Field(min_length=1, description="its folder below /sys/bus/w1/devices: 28-…")


class HwmonConfig(SensorBase):
    """What the kernel measures itself: hwmon and thermal zones."""

    driver: Literal["hwmon"]
    path: Annotated[str, AfterValidator(_hwmon_path)] = Field(
        pattern="^/", description="…/hwmon/hwmon*/temp1_input, or /sys/class/thermal/thermal_zone0/temp"
    )

    def units(self) -> Mapping[str, str]:
        from drivers.sensors.sysfs import kind_of

        quantity, unit, _ = kind_of(PurePath(self.path).name)
        return {quantity: unit}


class NutConfig(SensorBase):
    """A UPS, by Network UPS Tools."""

    UNITS_OF: ClassVar[Mapping[str, str]] = {
        "mains_lost": "bool",
        "battery_low": "bool",
        "battery_replace": "bool",
        "battery_charge": "%",
        "battery_runtime": "s",
        "battery_voltage": "V",
        "input_voltage": "V",
        "load": "%",
        "temperature": "°C",
    }

    driver: Literal["nut"]
    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(3493, ge=1, le=65535)
    ups: str = Field("ups", pattern=r"^[A-Za-z0-9_.-]+$", description="its name in ups.conf")


class PluginConfig(SensorBase):
    """A driver that an installed package brings; see drivers/README.md."""

    options: dict[str, str | int | float | bool] = Field({}, description="what its driver takes")


class _UnknownConfig(SensorBase):
    """Never made: says which drivers there are."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, data: Any) -> Any:
        found = data.get("driver") if isinstance(data, dict) else None
        known = [*DRIVERS, *plugin_names()]
        near = difflib.get_close_matches(str(found), known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        said = f"no driver {found!r}" if found is not None else "driver is missing"
        raise ValueError(f"{said}; {hint}known: {', '.join(known)}")


DRIVERS: dict[str, type[SensorBase]] = {
    "modbus-tcp": ModbusTcpConfig,
    "modbus-rtu": ModbusRtuConfig,
    "gpio": GpioConfig,
    "nmea": NmeaConfig,
    "bme280": Bme280Config,
    "ina219": Ina219Config,
    "ds18b20": Ds18b20Config,
    "hwmon": HwmonConfig,
    "nut": NutConfig,
}
TAGS: dict[str, type[BaseModel]] = {**DRIVERS, "plugin": PluginConfig, "unknown": _UnknownConfig}
"""What stands in the place of a model's errors, behind the number of the sensor."""


def _tag(data: Any) -> str:
    driver = data.get("driver") if isinstance(data, dict) else getattr(data, "driver", None)
    if driver in DRIVERS:
        return str(driver)
    return "plugin" if driver in plugin_names() else "unknown"


SensorConfig = Annotated[
    Annotated[ModbusTcpConfig, Tag("modbus-tcp")]
    | Annotated[ModbusRtuConfig, Tag("modbus-rtu")]
    | Annotated[GpioConfig, Tag("gpio")]
    | Annotated[NmeaConfig, Tag("nmea")]
    | Annotated[Bme280Config, Tag("bme280")]
    | Annotated[Ina219Config, Tag("ina219")]
    | Annotated[Ds18b20Config, Tag("ds18b20")]
    | Annotated[HwmonConfig, Tag("hwmon")]
    | Annotated[NutConfig, Tag("nut")]
    | Annotated[PluginConfig, Tag("plugin")]
    | Annotated[_UnknownConfig, Tag("unknown")],
    Discriminator(_tag),
]


class OutputConfig(Table):
    """A siren or a light on a GPIO line: on while one of its alerts is raised, off otherwise and when in doubt."""

    id: Id
    chip: str = Field("/dev/gpiochip0", pattern="^/")
    line: int | str = Field(description="number on the chip, or name")
    active: Literal["high", "low"] = Field("high", description="the voltage that switches it on")
    while_raised: tuple[str, ...] = Field(min_length=1, description='alerts, as "sensor/limit" or "sensor/contact"')
    at_most_s: float = Field(300.0, gt=0, le=86400, description="off after so long, until the next alert is raised")


def check_sensors(sensors: tuple[Any, ...], outputs: tuple[OutputConfig, ...]) -> None:
    """What can only be seen of all of them together. Raises ValueError."""
    refuse_repeats("sensor", [sensor.id for sensor in sensors])
    refuse_repeats("output", [output.id for output in outputs])
    lines: dict[str, tuple[str, Any]] = {}
    for sensor in sensors:
        if not isinstance(sensor, ModbusRtuConfig | NmeaConfig):
            continue
        settings = (
            (sensor.driver, sensor.baud, sensor.parity, sensor.stop_bits)
            if isinstance(sensor, ModbusRtuConfig)
            else (sensor.driver, sensor.id)  # a receiver shares its port with nobody
        )
        other, known = lines.setdefault(sensor.port, (sensor.id, settings))
        if known != settings:
            raise ValueError(
                f"sensors {other!r} and {sensor.id!r} are both on {sensor.port}, with {known} and {settings}; "
                "wanted one driver with one baud rate, parity and number of stop bits on a line"
            )
    for output in outputs:
        for reference in output.while_raised:
            sensor_id, _, rule = reference.partition("/")
            found = next((sensor for sensor in sensors if sensor.id == sensor_id), None)
            rules = [] if found is None else [limit.id for limit in found.limit]
            rules += [] if found is None else [name for name, unit in found.units().items() if unit == "bool"]
            if found is None or (rule not in rules and not isinstance(found, PluginConfig)):
                such = ", such as " + ", ".join(f"{sensor_id}/{name}" for name in rules) if rules else ""
                raise ValueError(
                    f"output {output.id!r}: while_raised has {reference!r}, which no sensor raises; wanted "
                    f"sensor/limit or sensor/contact{such}"
                )
