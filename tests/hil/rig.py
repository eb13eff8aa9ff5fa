"""A street cabinet with a camera and sensors on this machine, and its profile: for the suite without a board.

    python -m tests.hil.rig FOLDER [--kernel]

Writes FOLDER/profile.toml, prints a line of JSON when everything is there (its environment for the agent), and stays
until it is told to end (SIGTERM). What happens in the street is written into files: `echo 90 >FOLDER/world/pm25`.

Without --kernel: a real RTSP server, pymodbus's servers on TCP and on a terminal, NMEA out of a terminal, a UPS server,
and files in place of what sysfs and GPIO have; FOLDER is best on a tmpfs, as sysfs is one. With it, as root in the
guest: the camera, the GPIO lines and the I2C bus are the kernel's (`tests.hil.kernel`), and all intervals are longer.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.hil.profile import to_toml
from tests.support.rtsp import RtspServer
from tests.support.sensor_rig import Cabinet

_LOOK_S = 0.1
_GUEST_SLOW = 5.0  # there Python is about 16 times slower; most of the time nothing waits for it


class World:
    """Orders by file: folder/<name> holds a value, and an order is done once for each that is written."""

    def __init__(self, folder: Path, orders: dict[str, tuple[str, Callable[[str], object]]]) -> None:
        """orders: name → value at the beginning, what to do with another."""
        self._folder, self._orders = folder, orders
        self._known = {name: value for name, (value, _) in orders.items()}
        folder.mkdir()
        for name, value in self._known.items():
            (folder / name).write_text(f"{value}\n")

    def look(self) -> None:
        for name, (_, act) in self._orders.items():
            value = (self._folder / name).read_text().strip()
            if value not in ("", self._known[name]):  # "": just being written
                self._known[name] = value
                act(value)

    def put(self, name: str, value: str) -> str:
        """The shell command that does it."""
        return f"echo {value} >{self._folder / name}"


class Street:
    """Common to both places; what differs is given. camera, gpio: unplugs with False. siren: a file that holds 1 while
    it is on, for the shell.
    """

    def __init__(
        self,
        folder: Path,
        cabinet: Cabinet,
        *,
        source: str,
        camera: Callable[[bool], object],
        gpio: Callable[[bool], object],
        siren: str,
        slow: float,
        more_orders: dict[str, tuple[str, Callable[[str], object]]] | None = None,
    ) -> None:
        self.cabinet, self.folder, self._source, self._siren, self._slow = cabinet, folder, source, siren, slow

        def on(value: str) -> bool:
            return value == "1"

        self.world = World(
            folder / "world",
            {
                "door": ("0", lambda value: cabinet.contacts.drive(17, on(value))),
                "mains": ("1", lambda value: cabinet.contacts.drive(27, on(value))),
                "pm25": ("40", lambda value: setattr(cabinet, "pm25", float(value))),
                "rises": ("0", lambda value: setattr(cabinet, "rises_m_per_s", float(value))),
                "thermometer": ("1", lambda value: setattr(cabinet, "celsius_moves", on(value))),
                "ups": ("1", lambda value: cabinet.ups.start() if on(value) else cabinet.ups.stop()),
                "gnss": ("1", lambda value: cabinet.gnss_port.plug() if on(value) else cabinet.gnss_port.unplug()),
                "gpio": ("1", lambda value: gpio(on(value))),
                "camera": ("1", lambda value: camera(on(value))),
                **(more_orders or {}),
            },
        )

    def profile(self, *, sensors: str = "", events: list[dict[str, object]] | None = None, camera: str = "") -> str:
        put, within_s, siren = self.world.put, 30 * self._slow, f"grep -q 1 {self._siren}"

        def event(name: str, raises: str, do: tuple[str, str], undo: str, **more: object) -> dict[str, object]:
            commands = {"do": put(*do), "undo": put(do[0], undo)}
            return {"id": name, "raises": raises, **commands, "within_s": within_s, **more}

        hil = {
            "outputs": True,
            "probe_i2c": True,
            "settle_s": 60 * self._slow,
            "event": [
                event("door opened", "cabinet/door", ("door", "1"), "0", shows=siren),
                event("mains lost", "cabinet/mains_lost", ("mains", "0"), "1"),
                event("PM2.5 over its limit and back", "air/pm25-high", ("pm25", "90"), "40"),
                event("water rises too fast", "drain/flood", ("rises", "0.05"), "0"),
                event("UPS falls silent", "ups/sensor-silent", ("ups", "0"), "1"),
                event("thermometer stuck", "inside/sensor-stuck", ("thermometer", "0"), "1"),
                event("camera unplugged and back", "cam/camera-silent", ("camera", "0"), "1"),
                event("GNSS receiver unplugged and back", "gnss/sensor-silent", ("gnss", "0"), "1"),
                event("GPIO chip unplugged and back", "cabinet/sensor-silent", ("gpio", "0"), "1"),
                event("door opened, with the chip back", "cabinet/door", ("door", "1"), "0", shows=siren),
                *(event(**more) for more in events or []),  # type: ignore[arg-type]
            ],
        }
        return (
            to_toml({"box": {"site": "test", "id": "gw", "timezone": "UTC"}, "hil": hil})
            + f"{sensors}\n{self.cabinet.config()}"
            + f'[[camera]]\nid = "cam"\nsource = "{self._source}"\nstall_timeout_s = {2 * self._slow:g}\n{camera}'
        )


@contextlib.contextmanager
def here(folder: Path) -> Iterator[tuple[Street, str]]:
    """Servers, terminals and files. Gives the street and its profile's text."""
    server = RtspServer()
    cabinet = Cabinet(folder)
    board = folder / "hwmon0" / "temp1_input"
    board.parent.mkdir()
    board.write_text("48312\n")
    away = folder / "gpio-away"

    def gpio(plugged: bool) -> None:
        away.rename(cabinet.pins.folder) if plugged else cabinet.pins.folder.rename(away)

    with server, cabinet:
        street = Street(
            folder,
            cabinet,
            source=server.url(),
            camera=lambda plugged: server.start() if plugged else server.stop(),
            gpio=gpio,
            siren=str(cabinet.pins.folder / "22"),
            slow=1.0,
        )
        sensors = f'[[sensor]]\nid = "board"\ndriver = "hwmon"\npath = "{board}"\ninterval_s = 1\n'
        yield street, street.profile(sensors=sensors)


@contextlib.contextmanager
def of_the_kernel(folder: Path) -> Iterator[tuple[Street, str]]:
    from tests.hil.kernel import GpioSim, StubbedChips, Vivid, load_modules

    load_modules()
    contacts = GpioSim("cabinet", folder / "gpiochip-cabinet", {17: "DOOR", 22: "SIREN", 27: "MAINS"})
    chips, camera = StubbedChips(), Vivid()
    cabinet = Cabinet(folder, contacts=contacts, chip=str(folder / "gpiochip-cabinet"), slow=_GUEST_SLOW)
    with contextlib.closing(chips), cabinet:
        street = Street(
            folder,
            cabinet,
            source=f"v4l2:{camera.path}",
            camera=lambda plugged: camera.plug() if plugged else camera.unplug(),
            gpio=lambda plugged: contacts.plug() if plugged else contacts.unplug(),
            siren=contacts.value_file(22),
            slow=_GUEST_SLOW,
            more_orders={"weather": ("1", lambda value: setattr(chips, "powered", value == "1"))},
        )
        sensors = (
            f'[[sensor]]\nid = "weather"\ndriver = "bme280"\nport = "{chips.port}"\ninterval_s = 2\n'
            f'[[sensor]]\nid = "supply"\ndriver = "ina219"\nport = "{chips.port}"\ninterval_s = 2\n'
        )
        unpowered: dict[str, object] = {
            "name": "weather station without supply",
            "raises": "weather/sensor-silent",
            "do": ("weather", "0"),
            "undo": "1",
        }
        # Its picture is looked at once a second, which leaves the processor to the others.
        picture = "fps = 1\nwidth_px = 640\nheight_px = 360\n"
        yield street, street.profile(sensors=sensors, events=[unpowered], camera=picture)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.hil.rig", description="A cabinet to run the suite against.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder, best on a tmpfs")
    parser.add_argument("--kernel", action="store_true", help="with the kernel's own camera, GPIO lines and I2C bus")
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with (of_the_kernel if options.kernel else here)(options.folder) as (street, profile):
        (options.folder / "profile.toml").write_text(profile, encoding="utf-8")
        print(json.dumps(street.cabinet.environment), flush=True)
        while not ended.wait(_LOOK_S):
            street.world.look()


if __name__ == "__main__":
    main()
