"""A street cabinet's sensors served on this machine, for a real agent to read: ports, servers, files.

Modbus is served by pymodbus's own server, over TCP and over a pair of pseudo-terminals; NMEA goes out of one; NUT is a
TCP server with a battery in it; thermometers and GPIO lines are files. What they tell can be changed while they run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import socketserver
import struct
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.sensors.fakes import Battery, FakeGnss, FakeUps, FolderPins, w1_slave
from tests.support.mosquitto import free_port


class PtyPair:
    """Two serial ports with a cable between them, as socat makes them."""

    def __init__(self) -> None:
        self._fds: list[int] = []
        masters, self._paths = [], []
        for _ in range(2):
            master, slave = os.openpty()
            # A slave that nobody holds open makes its master fail: ours stay open, whoever comes and goes.
            self._fds += [master, slave]
            masters.append(master)
            self._paths.append(os.ttyname(slave))
            _raw(slave)
        self._masters = masters
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._carry, name="cable")
        self._thread.start()

    @property
    def ends(self) -> tuple[str, str]:
        return self._paths[0], self._paths[1]

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()
        for fd in self._fds:
            os.close(fd)

    def _carry(self) -> None:
        one, other = self._masters
        while not self._stopping.is_set():
            for fd in select.select([one, other], [], [], 0.05)[0]:
                os.write(other if fd == one else one, os.read(fd, 4096))


class TalkingPort:
    """A serial port out of which something is said every `every_s`; it can be unplugged and plugged in again.

    link: a name that leads to it while it is plugged in, as those in /dev/serial/by-id do; none: `path` changes.
    """

    def __init__(self, says: Callable[[], bytes], every_s: float, link: Path | None = None) -> None:
        self._says, self._every_s, self._link = says, every_s, link
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.plug()

    @property
    def path(self) -> str:
        return str(self._link or self._node)

    def plug(self) -> None:
        self._master, self._slave = os.openpty()
        _raw(self._slave)
        self._node = os.ttyname(self._slave)
        if self._link is not None:
            self._link.symlink_to(self._node)
        self._stopping.clear()
        self._thread = threading.Thread(target=self._talk, name="talking port")
        self._thread.start()

    def unplug(self) -> None:
        """Who has it open gets an error, and its node is gone."""
        if self._thread is None:
            return
        self._stopping.set()
        self._thread.join()
        self._thread = None
        if self._link is not None:
            self._link.unlink()
        os.close(self._master)
        os.close(self._slave)

    def close(self) -> None:
        self.unplug()

    def _talk(self) -> None:
        while not self._stopping.wait(self._every_s):
            if select.select([], [self._master], [], 0)[1]:  # nobody listens: the line is full, as a real one is lost
                os.write(self._master, self._says())


class ModbusServer:
    """pymodbus's server with one device, whose holding registers from 0 on are what `registers` gives when asked.

    where: a serial port's path, or a TCP port.
    """

    def __init__(self, where: str | int, registers: Callable[[], list[int]], *, device: int = 1) -> None:
        self._where, self._registers, self._device = where, registers, device
        self.asked = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: ModbusTcpServer | ModbusSerialServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> ModbusServer:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), name="modbus server")
        self._thread.start()
        assert ready.wait(10), "pymodbus's server did not start"
        return self

    def stop(self) -> None:
        if self._thread is not None and self._loop is not None and self._server is not None:
            asyncio.run_coroutine_threadsafe(self._server.shutdown(), self._loop).result(10)
            self._thread.join(10)
            self._thread = None

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        device = SimDevice(
            self._device,
            simdata=[SimData(0, count=len(self._registers()), values=0, datatype=DataType.REGISTERS)],
            action=self._fill,
        )
        if isinstance(self._where, int):
            self._server = ModbusTcpServer(device, address=("127.0.0.1", self._where))
        else:
            self._server = ModbusSerialServer(device, port=self._where, baudrate=9600)
        await self._server.serve_forever(background=True)
        ready.set()
        with contextlib.suppress(asyncio.CancelledError):
            await self._server.serving

    async def _fill(
        self, function: int, start: int, address: int, count: int, current: list[int], wanted: object
    ) -> ExcCodes | None:
        self.asked += 1
        current[:] = self._registers()
        return None


class UpsServer:
    """NUT's server on a loopback port, which it keeps over stop() and start()."""

    def __init__(self, ups: FakeUps) -> None:
        self.port = free_port()
        self._ups = ups
        self._server: socketserver.ThreadingTCPServer | None = None
        self._connections: set[socket.socket] = set()

    def start(self) -> UpsServer:
        ups, connections = self._ups, self._connections

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                connections.add(self.connection)
                with contextlib.suppress(OSError):
                    for line in self.rfile:
                        self.wfile.write(ups.answer(line.decode().strip()).encode() + b"\n")

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="ups server").start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._connections.clear()
            self._server.server_close()
            self._server = None


class Contacts(Protocol):
    """GPIO lines, of which the voltage can be chosen."""

    def drive(self, line: int, high: bool) -> None: ...


class Cabinet:
    """Six sensors in a cabinet at a gateway, and what happens to them.

    pm25: µg/m³. level_m: the water in the drain, which rises by itself while rises_m_per_s is not 0.
    contacts, chip: GPIO lines other than files, and where the agent finds them. slow: all intervals and waits are so
    many times longer, for a slow machine.
    """

    def __init__(
        self, folder: Path, *, contacts: Contacts | None = None, chip: str = "/dev/gpiochip0", slow: float = 1.0
    ) -> None:
        self.folder = folder
        self.pm25 = 40.0
        self.level_m, self.rises_m_per_s = 0.4, 0.0
        self._then_s = time.monotonic()
        (folder / "gpio").mkdir()
        self.pins = FolderPins(folder / "gpio")
        self.contacts: Contacts = contacts or self.pins
        self._chip, self._slow = chip, slow
        self.environment = {} if contacts else {"GATEWAY_AGENT_GPIO": f"fake:{self.pins.folder}"}
        self.contacts.drive(17, False)
        self.contacts.drive(27, True)
        self.thermometer = folder / "28-0316a2794aff" / "w1_slave"
        self.thermometer.parent.mkdir()
        self.celsius, self.celsius_moves = 30.0, True
        self.battery = Battery(capacity_wh=100, load_w=50, charger_w=20, mono_s=time.monotonic)
        self.cable = PtyPair()
        self.air = ModbusServer(self.cable.ends[0], self._air, device=3)
        self.drain_port = free_port()
        self.drain = ModbusServer(self.drain_port, self._drain)
        self.ups = UpsServer(FakeUps("ups", self.battery))
        self.gnss = FakeGnss()
        self.gnss_port = TalkingPort(
            lambda: self.gnss.talks(time.time_ns() // 1_000_000), 0.2 * slow, folder / "serial-gnss"
        )
        self._stopping = threading.Event()
        self._weather = threading.Thread(target=self._warm, name="weather")

    def config(self) -> str:
        slow = self._slow
        return f"""
[[sensor]]
id = "air"
driver = "modbus-rtu"
port = "{self.cable.ends[1]}"
device = 3
interval_s = {0.3 * slow:g}
  [[sensor.quantity]]
  id = "pm25"
  name = "Bụi mịn PM2.5"
  unit = "µg/m³"
  register = 0
  scale = 0.1
  deadband = 1
  [[sensor.limit]]
  id = "pm25-high"
  above = 75
  clear = 65
  hold_s = 0.5

[[sensor]]
id = "drain"
driver = "modbus-tcp"
host = "127.0.0.1"
port = {self.drain_port}
interval_s = {0.2 * slow:g}
  [[sensor.quantity]]
  id = "level"
  unit = "m"
  register = 1
  type = "float32"
  word_order = "little"
  [[sensor.limit]]
  id = "flood"
  rises_per_min = 1.0
  over_s = {3 * slow:g}
  severity = "critical"

[[sensor]]
id = "cabinet"
driver = "gpio"
chip = "{self._chip}"
stale_s = {4 * slow:g}
  [[sensor.quantity]]
  id = "door"
  name = "Cửa tủ"
  line = 17
  [[sensor.quantity]]
  id = "mains_lost"
  line = 27
  active = "low"
  severity = "critical"

[[sensor]]
id = "gnss"
driver = "nmea"
port = "{self.gnss_port.path}"
stale_s = {5 * slow:g}

[[sensor]]
id = "inside"
driver = "ds18b20"
device = "{self.thermometer.parent}"
interval_s = {0.3 * slow:g}
  [[sensor.quantity]]
  id = "temperature"
  stuck_s = {4 * slow:g}

[[sensor]]
id = "ups"
driver = "nut"
port = {self.ups.port}
interval_s = {0.3 * slow:g}
stale_s = {2 * slow:g}

[[output]]
id = "siren"
chip = "{self._chip}"
line = 22
while_raised = ["cabinet/door"]
"""

    def start(self) -> Cabinet:
        self.air.start()
        self.drain.start()
        self.ups.start()
        self._weather.start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        self._weather.join()
        self.air.stop()
        self.drain.stop()
        self.ups.stop()
        self.gnss_port.close()
        self.cable.close()

    def __enter__(self) -> Cabinet:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _air(self) -> list[int]:
        return [round(self.pm25 * 10)]

    def _drain(self) -> list[int]:
        now_s = time.monotonic()
        self.level_m += self.rises_m_per_s * (now_s - self._then_s)
        self._then_s = now_s
        high, low = float_registers(self.level_m)
        return [0, low, high]

    def _warm(self) -> None:
        """The air inside moves all the time, unless celsius_moves is switched off."""
        while not self._stopping.wait(0.2 * self._slow):
            if self.celsius_moves:
                self.celsius = 30.0 if self.celsius > 31 else self.celsius + 0.0625
            partial = self.thermometer.with_name(".new")
            partial.write_text(w1_slave(self.celsius))
            partial.rename(self.thermometer)


def float_registers(value: float) -> tuple[int, int]:
    high, low = struct.unpack(">HH", struct.pack(">f", value))
    return high, low


def _raw(slave: int) -> None:
    """As a serial port that a driver has set up: no echo, no lines, every byte as it comes."""
    tty.setraw(slave)


@contextlib.contextmanager
def running(*servers: ModbusServer | UpsServer) -> Iterator[None]:
    for server in servers:
        server.start()
    try:
        yield
    finally:
        for server in servers:
            server.stop()
