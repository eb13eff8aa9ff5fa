"""The door for sensors: what it lets in, and the words with which it turns mistakes away."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import config
from agent.config import Config
from agent.errors import ConfigError
from agent.sensing import Limit
from agent.sensors import make_sensing, make_sensors, manner
from drivers.sensors.modbus import ModbusSensor

CAMERA = '[box]\nsite = "cua-bac"\nid = "gw-01"\n[[camera]]\nid = "north"\nsource = "file:clip.mp4"\n'
EXAMPLES = Path(__file__).parents[3] / "provisioning" / "README.md"

AIR = """
[[sensor]]
id = "air"
driver = "modbus-rtu"
port = "/dev/ttyUSB0"
  [[sensor.quantity]]
  id = "pm25"
  unit = "µg/m³"
  register = 0
"""
CONTACT = """
[[sensor]]
id = "cabinet"
driver = "gpio"
  [[sensor.quantity]]
  id = "door"
  line = 17
"""
ROOF = '[[sensor]]\nid = "roof"\ndriver = "bme280"\n'
LIMIT = '[[sensor.limit]]\nid = "high"\n'


def parsed(text: str) -> Config:
    return config.parse(CAMERA + text, "gateway.toml")


def test_a_sensor_gets_the_defaults_of_its_driver() -> None:
    air, cabinet, roof = parsed(AIR + CONTACT + ROOF).sensor
    assert (air.interval_s, air.timeout_s, air.driver) == (10.0, 2.0, "modbus-rtu")
    assert (cabinet.interval_s, cabinet.driver) == (0, "gpio")
    assert dict(roof.units()) == {"temperature": "°C", "humidity": "%", "pressure": "hPa"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            '[[sensor]]\nid = "a"\ndriver = "modbus_rtu"',
            "sensor[1]: no driver 'modbus_rtu'; did you mean 'modbus-rtu'? known: modbus-tcp, modbus-rtu, gpio, nmea, "
            "bme280, ina219, ds18b20, hwmon, nut",
            id="unknown driver",
        ),
        pytest.param('[[sensor]]\nid = "a"', "sensor[1]: driver is missing; known: modbus-tcp, ", id="no driver"),
        pytest.param(ROOF + "adress = 1", "sensor[1].adress: unknown key; did you mean 'address'?", id="typo"),
        pytest.param(ROOF + "baud = 1", "sensor[1].baud: unknown key; all keys", id="a key of another driver"),
        pytest.param(
            AIR + "scael = 1", "sensor[1].quantity[1].scael: unknown key; did you mean 'scale'?", id="typo inside"
        ),
        pytest.param(AIR.replace("µg/m³", "ug/m3"), "unit 'ug/m3' is not known; did you mean 'µg/m³'?", id="unit"),
        pytest.param(AIR.replace("register = 0", ""), "sensor[1].quantity[1].register: missing", id="no register"),
        pytest.param(AIR + 'table = "coil"', 'table = "coil" with unit = "µg/m³"; wanted unit = "bool"', id="coil"),
        pytest.param(AIR + "scale = 0", "scale = 0 makes every value the same", id="scale"),
        pytest.param(AIR + "valid = [5, 1]", "valid = [5.0, 1.0]; wanted [lowest, highest]", id="range turned round"),
        pytest.param(AIR + "valid = [-9, -1]", "of 'pm25' never is: 0 to 100000", id="impossible range"),
        pytest.param(
            '[[sensor]]\nid = "a"\ndriver = "modbus-tcp"\nhost = "10.0.0.7"',
            "sensor[1].quantity: found nothing; wanted a table that begins with [[sensor.quantity]]",
            id="no registers",
        ),
        pytest.param(AIR + AIR, "the sensor id 'air' is used 2 times", id="same id"),
        pytest.param(
            AIR.replace('"air"', '"north"'), "the camera or sensor id 'north' is used 2 times", id="camera's id"
        ),
        pytest.param(
            AIR + AIR.replace('"air"', '"noise"').replace("/dev/ttyUSB0", '/dev/ttyUSB0"\nbaud = 4800\nname = "x'),
            "sensors 'air' and 'noise' are both on /dev/ttyUSB0",
            id="two baud rates on one line",
        ),
        pytest.param(
            AIR + '[[sensor]]\nid = "gnss"\ndriver = "nmea"\nport = "/dev/ttyUSB0"',
            "sensors 'air' and 'gnss' are both on /dev/ttyUSB0",
            id="two drivers on one line",
        ),
        pytest.param(AIR + LIMIT, "0 bounds; wanted exactly one of above, below", id="limit without a bound"),
        pytest.param(AIR + LIMIT + "above = 1\nbelow = 1", "2 bounds; wanted exactly one", id="limit with two"),
        pytest.param(AIR + LIMIT + "above = 1\nclear = 2", "clear = 2 is above 1; wanted at most that", id="clear"),
        pytest.param(AIR + LIMIT + "rises_per_min = 1\nclear = 2", "clear = 2; wanted 0 to 1", id="clear of a rate"),
        pytest.param(
            ROOF + LIMIT + "above = 1", "does not say which quantity; wanted quantity = one of: temp", id="which"
        ),
        pytest.param(
            ROOF + LIMIT + 'above = 1\nquantity = "no2"', "is on the quantity 'no2'; this sensor has", id="none"
        ),
        pytest.param(
            CONTACT + LIMIT + "above = 1", "'door', which is on or off: it raises an alert", id="on a contact"
        ),
        pytest.param(
            CONTACT + CONTACT.replace("[[sensor]]", "").replace('id = "cabinet"\ndriver = "gpio"\n', ""),
            "the quantity id 'door' is used 2 times",
            id="same contact",
        ),
        pytest.param(
            '[[sensor]]\nid = "t"\ndriver = "hwmon"\npath = "/sys/class/hwmon/hwmon0/name"',
            "sensor[1].path: 'name' is no file of hwmon",
            id="no file of hwmon",
        ),
        pytest.param(
            CONTACT + '[[output]]\nid = "siren"\nline = 22\nwhile_raised = ["cabinet/dor"]',
            "output 'siren': while_raised has 'cabinet/dor', which no sensor raises; wanted sensor/limit or "
            "sensor/contact, such as cabinet/door",
            id="output for nothing",
        ),
    ],
)
def test_a_mistake_is_told_with_where_it_is_and_what_was_wanted(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    assert said in str(caught.value)
    assert "modbus-rtu." not in str(caught.value).replace("modbus-rtu, ", "")  # the place is named as it is in the file


def test_a_config_without_sensors_is_as_it_was() -> None:
    assert (parsed("").sensor, parsed("").output) == ((), ())


def test_devices_of_one_line_share_one_bus_and_one_link() -> None:
    second = AIR.replace('"air"', '"noise"').replace('driver = "modbus-rtu"', 'driver = "modbus-rtu"\ndevice = 2')
    drivers = make_sensors(parsed(AIR + second).sensor)
    first, other = drivers
    assert isinstance(first, ModbusSensor)
    assert isinstance(other, ModbusSensor)
    assert first.bus == other.bus
    assert first._link is other._link


def test_limits_get_their_hysteresis() -> None:
    limits = [
        LIMIT + "above = 75\nclear = 65\nhold_s = 60",
        LIMIT.replace("high", "low") + "below = 5",
        LIMIT.replace("high", "fast") + "rises_per_min = 4\nover_s = 120",
    ]
    (air,) = parsed(AIR + "\n".join(limits)).sensor
    assert manner(air).rules["pm25"].limits == (
        Limit("high", "above", 75, 65, hold_s=60),
        Limit("low", "below", 5, 5),
        Limit("fast", "rising", 4, 2, over_s=120),
    )
    assert not manner(air).named


def test_what_a_ups_may_lack_is_not_missed() -> None:
    (ups,) = parsed('[[sensor]]\nid = "ups"\ndriver = "nut"\n' + LIMIT + 'quantity = "load"\nabove = 90').sensor
    assert set(manner(ups).rules) == {"mains_lost", "battery_low", "battery_replace", "load"}


def test_gpio_lines_without_the_library_are_a_mistake_of_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delenv("GATEWAY_AGENT_GPIO", raising=False)
    monkeypatch.setitem(sys.modules, "drivers.sensors.gpio_kernel", None)
    with pytest.raises(ConfigError, match="GPIO needs the gpiod library, which is LGPL"):
        make_sensors(parsed(CONTACT).sensor)


def test_everything_in_the_handbooks_example_can_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from agent.clock import FakeClock
    from agent.config_sensors import DRIVERS

    monkeypatch.setenv("GATEWAY_AGENT_GPIO", f"fake:{tmp_path}")
    handbook = EXAMPLES.read_text(encoding="utf-8")
    start = handbook.index("```toml\n# One of each\n")
    example = handbook[start + len("```toml\n") : handbook.index("```", start + 8)]
    loaded = parsed(example)
    assert {sensor.driver for sensor in loaded.sensor} == set(DRIVERS)
    assert loaded.output
    sensing = make_sensing(loaded, FakeClock())
    assert set(sensing.states()) == {sensor.id for sensor in loaded.sensor}
