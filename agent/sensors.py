"""From the configuration of sensors and outputs to their drivers and watches; for `run` and `check` alike.

Drivers' modules are imported where one is configured: a box without Modbus does not carry pymodbus in its memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar, cast

from agent.clock import Clock
from agent.config import Config
from agent.config_sensors import (
    Bme280Config,
    ContactConfig,
    Ds18b20Config,
    GpioConfig,
    HwmonConfig,
    Ina219Config,
    LimitConfig,
    ModbusRtuConfig,
    ModbusTcpConfig,
    NmeaConfig,
    NutConfig,
    PluginConfig,
    QuantityConfig,
    SensorBase,
)
from agent.errors import ConfigError
from agent.sensing import Limit, Manner, OutputKeeper, Rules, Sensing, SensorWatch
from agent.sensing.limits import Bound
from drivers.base import Output, Sensor

if TYPE_CHECKING:
    from drivers.sensors.gpio import Line

T = TypeVar("T")

# Where nothing is configured: what these drivers measure never stands still, and would be told each time.
_DEADBANDS = {
    "latitude": 0.0005,  # 50 m: a gateway that moved is news, a receiver's noise is not
    "longitude": 0.0005,
    "altitude": 50.0,
    "satellites": 4.0,
    "battery_charge": 1.0,
    "battery_runtime": 120.0,
    "input_voltage": 5.0,
}


def make_sensing(config: Config, clock: Clock) -> Sensing:
    """Raises ConfigError for what a restart cannot mend: a library or a driver that is not installed."""
    drivers = make_sensors(config.sensor)
    watches = [
        SensorWatch(driver, manner(sensor), clock=clock) for driver, sensor in zip(drivers, config.sensor, strict=True)
    ]
    outputs = [
        OutputKeeper(
            output,
            [_reference(reference) for reference in settings.while_raised],
            at_most_s=settings.at_most_s,
            clock=clock,
        )
        for output, settings in zip(make_outputs(config), config.output, strict=True)
    ]
    return Sensing(watches, clock=clock, outputs=outputs)


def make_sensors(sensors: Sequence[SensorBase]) -> list[Sensor]:
    """A driver for each, none of them open yet. Those on one line, adapter or host share what leads there."""
    links = _Links()
    try:
        return [_make(sensor, links) for sensor in sensors]
    except ValueError as exc:
        raise ConfigError(str(exc)) from exc


def make_outputs(config: Config) -> list[Output]:
    if not config.output:
        return []
    from drivers.sensors.gpio import GpioOutput, Line, pins

    try:
        chosen = pins()
    except ValueError as exc:
        raise ConfigError(f"output {config.output[0].id}: {exc}") from exc
    return [
        GpioOutput(o.id, o.chip, Line(o.id, o.line, active_low=o.active == "low"), pins=chosen) for o in config.output
    ]


def manner(sensor: SensorBase) -> Manner:
    units = sensor.units()
    stale_s = sensor.stale_s or max(3 * sensor.interval_s, 15.0)
    given = {quantity.id: quantity for quantity in sensor.quantity}
    names = [*units, *(name for name in given if name not in units)]
    return Manner(
        interval_s=sensor.interval_s,
        timeout_s=sensor.timeout_s,
        stale_s=stale_s,
        name=sensor.name,
        rules={
            name: _rules(name, given.get(name), sensor.limit, names) for name in names if _is_expected(sensor, name)
        },
        named=len(units) != 1,
    )


def _is_expected(sensor: SensorBase, quantity: str) -> bool:
    """Whether its absence is worth an alert: not every UPS and receiver tells everything that its driver knows."""
    wanted = {q.id for q in sensor.quantity} | {limit.quantity for limit in sensor.limit}
    return quantity in wanted or not isinstance(sensor, NutConfig | NmeaConfig) or sensor.units()[quantity] == "bool"


def _rules(name: str, given: QuantityConfig | None, limits: Sequence[LimitConfig], names: list[str]) -> Rules:
    own = tuple(_limit(limit) for limit in limits if (limit.quantity or names[0]) == name)
    default = _DEADBANDS.get(name, 0.0)
    if given is None:
        return Rules(deadband=default, limits=own)
    return Rules(
        name=given.name,
        valid=given.valid,
        deadband=default if given.deadband is None else given.deadband,
        heartbeat_s=given.heartbeat_s,
        stuck_s=given.stuck_s,
        severity=given.severity,
        hold_s=given.hold_s,
        limits=own,
    )


def _limit(limit: LimitConfig) -> Limit:
    bound: Bound
    if limit.above is not None:
        bound, at, clear = "above", limit.above, limit.above
    elif limit.below is not None:
        bound, at, clear = "below", limit.below, limit.below
    elif limit.rises_per_min is not None:
        bound, at, clear = "rising", limit.rises_per_min, limit.rises_per_min / 2
    else:
        assert limit.falls_per_min is not None
        bound, at, clear = "falling", limit.falls_per_min, limit.falls_per_min / 2
    return Limit(
        id=limit.id,
        bound=bound,
        at=at,
        clear=clear if limit.clear is None else limit.clear,
        hold_s=limit.hold_s,
        over_s=limit.over_s,
        severity=limit.severity,
    )


def _reference(text: str) -> tuple[str, str]:
    sensor_id, _, rule = text.partition("/")
    return sensor_id, rule


class _Links:
    """What several sensors share, made once for each line, adapter and host."""

    def __init__(self) -> None:
        self._made: dict[object, object] = {}

    def once(self, key: object, make: Callable[[], T]) -> T:
        if key not in self._made:
            self._made[key] = make()
        return cast(T, self._made[key])


def _make(sensor: SensorBase, links: _Links) -> Sensor:
    match sensor:
        case ModbusTcpConfig() | ModbusRtuConfig():
            return _modbus(sensor, links)
        case GpioConfig():
            from drivers.sensors.gpio import GpioSensor, pins

            return GpioSensor(
                sensor.id, sensor.chip, [_line(c) for c in sensor.quantity], pins=links.once("pins", pins)
            )
        case NmeaConfig():
            from drivers.sensors.nmea import NmeaSensor
            from drivers.sensors.serial_port import SerialPort

            return NmeaSensor(sensor.id, SerialPort(sensor.port, baud=sensor.baud), offers_time=sensor.offer_time)
        case Bme280Config() | Ina219Config():
            from drivers.sensors.i2c import Bme280Sensor, Ina219Sensor, SystemI2cBus

            bus = links.once(("i2c", sensor.port), lambda: SystemI2cBus(sensor.port))
            if isinstance(sensor, Bme280Config):
                return Bme280Sensor(sensor.id, bus, sensor.address)
            return Ina219Sensor(sensor.id, bus, sensor.address, shunt_ohm=sensor.shunt_ohm)
        case Ds18b20Config():
            from drivers.sensors.sysfs import Ds18b20Sensor

            return Ds18b20Sensor(sensor.id, sensor.device)
        case HwmonConfig():
            from drivers.sensors.sysfs import HwmonSensor

            return HwmonSensor(sensor.id, sensor.path)
        case NutConfig():
            from drivers.sensors.nut import NutSensor

            return NutSensor(sensor.id, sensor.host, sensor.ups, port=sensor.port)
        case PluginConfig():
            from drivers.sensors.plugins import make_plugin_sensor

            try:
                return make_plugin_sensor(sensor.id, sensor.driver, sensor.options)
            except ValueError as exc:
                raise ValueError(f"sensor {sensor.id}: {exc}") from exc
    raise AssertionError(f"{type(sensor).__name__} has no driver")


def _modbus(sensor: ModbusTcpConfig | ModbusRtuConfig, links: _Links) -> Sensor:
    from drivers.sensors.modbus import ModbusSensor, Register
    from drivers.sensors.modbus_wire import ModbusLink, SerialWire, TcpWire
    from drivers.sensors.serial_port import SerialPort

    def serial() -> ModbusLink:
        assert isinstance(sensor, ModbusRtuConfig)
        port = SerialPort(sensor.port, baud=sensor.baud, parity=sensor.parity, stop_bits=sensor.stop_bits)
        return ModbusLink(SerialWire(port), "rtu")

    def network() -> ModbusLink:
        assert isinstance(sensor, ModbusTcpConfig)
        return ModbusLink(TcpWire(sensor.host, sensor.port), "rtu" if sensor.framing == "rtu" else "socket")

    if isinstance(sensor, ModbusRtuConfig):
        link = links.once(("serial", sensor.port), serial)
    else:
        link = links.once(("tcp", sensor.host, sensor.port, sensor.framing), network)
    registers = [
        Register(
            quantity=q.id,
            unit=q.unit,
            address=q.register_,
            table=q.table,
            kind=q.type,
            byte_order=q.byte_order,
            word_order=q.word_order,
            scale=q.scale,
            offset=q.offset,
            missing=q.missing,
        )
        for q in sensor.quantity
    ]
    return ModbusSensor(sensor.id, link, sensor.device, registers)


def _line(contact: ContactConfig) -> Line:
    from drivers.sensors.gpio import Line

    return Line(
        contact.id,
        contact.line,
        active_low=contact.active == "low",
        bias=contact.bias,
        debounce_ms=contact.debounce_ms,
    )
