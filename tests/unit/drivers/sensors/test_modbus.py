"""The map of registers, and one request with one answer on a line that is not kind."""

from __future__ import annotations

import itertools
import struct
import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest

from drivers.base import SensorInvalid, SensorRefused, SensorUnavailable
from drivers.sensors import modbus_wire
from drivers.sensors.fakes import FakeModbusWire, crc16
from drivers.sensors.modbus import ModbusSensor, Order, Register, Type
from drivers.sensors.modbus_wire import ModbusLink


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moves by a millisecond when it is looked at: a deadline is so many looks away, however slow the machine is."""
    looks = itertools.count()
    monkeypatch.setattr(modbus_wire, "time", SimpleNamespace(monotonic=lambda: next(looks) * 0.001))


@pytest.mark.parametrize(
    ("kind", "registers", "byte_order", "word_order", "value"),
    [
        ("uint16", [0xFFFE], "big", "big", 65534),
        ("int16", [0xFFFE], "big", "big", -2),
        ("uint16", [0x0102], "little", "big", 0x0201),
        ("uint32", [0x0001, 0x86A0], "big", "big", 100_000),
        ("uint32", [0x86A0, 0x0001], "big", "little", 100_000),
        ("uint32", [0x0100, 0xA086], "little", "big", 100_000),
        ("uint32", [0xA086, 0x0100], "little", "little", 100_000),
        ("int32", [0xFFFF, 0xFFFF], "big", "big", -1),
        ("float32", [0x41BC, 0x0000], "big", "big", 23.5),
        ("float32", [0x0000, 0x41BC], "big", "little", 23.5),
        ("float32", [0x3ECC, 0xCCCD], "big", "big", 0.4),
        ("float64", [0x4037, 0x8000, 0, 0], "big", "big", 23.5),
        ("uint64", [0, 0, 1, 0], "big", "big", 65536),
        ("int64", [0xFFFF] * 4, "big", "big", -1),
    ],
)
def test_a_value_is_read_by_its_type_and_both_orders(
    kind: Type, registers: list[int], byte_order: Order, word_order: Order, value: float
) -> None:
    register = Register("q", "1", 0, kind=kind, byte_order=byte_order, word_order=word_order)
    assert register.count == len(registers)
    assert register.reading(registers, 1.0).value == value


def test_scale_and_offset_leave_no_dust_behind() -> None:
    assert Register("t", "°C", 0, scale=0.1, offset=-40).reading([653], 0).value == 25.3


@pytest.mark.parametrize(
    ("register", "raw"),
    [
        pytest.param(Register("q", "1", 0, missing=0x7FFF), [0x7FFF], id="the device's mark for no value"),
        pytest.param(Register("q", "1", 0, kind="int16", missing=-32768), [0x8000], id="a negative mark"),
        pytest.param(Register("q", "1", 0, kind="float32"), [0x7FC0, 0], id="NaN"),
        pytest.param(Register("q", "1", 0, kind="float32"), [0x7F80, 0], id="infinity"),
    ],
)
def test_no_value_is_no_number(register: Register, raw: list[int]) -> None:
    assert register.reading(raw, 0).invalid is not None


class Recording(FakeModbusWire):
    """Keeps what was asked."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.asked: list[tuple[int, int, int]] = []

    def send(self, data: bytes, timeout_s: float) -> None:
        self.asked.append(struct.unpack(">BHH", data[1:6] if self._rtu else data[7:12]))
        super().send(data, timeout_s)


def link(
    values: dict[tuple[str, int], int] | None = None, *, rtu: bool = True, wire: FakeModbusWire | None = None
) -> tuple[ModbusLink, FakeModbusWire]:
    made = wire or Recording({7: values if values is not None else {("holding", n): n for n in range(300)}}, rtu=rtu)
    opened = ModbusLink(made, "rtu" if rtu else "socket")
    opened.open("air", 1.0)
    return opened, made


def ask(opened: ModbusLink, count: int = 1, table: str = "holding") -> list[int]:
    return opened.ask("air", 7, table, 0, count, 0.02)  # type: ignore[arg-type]


def test_neighbours_are_asked_for_together_and_a_hole_is_not_read_over() -> None:
    opened, wire = link()
    registers = [
        Register("c", "1", 10),
        Register("a", "1", 0, kind="uint32"),
        Register("b", "1", 2),
        Register("d", "1", 11),
    ]
    readings = ModbusSensor("air", opened, 7, registers).read(0.1)
    assert wire.asked == [(3, 0, 3), (3, 10, 2)]  # type: ignore[attr-defined]
    assert {r.quantity: r.value for r in readings} == {"a": 1, "b": 2, "c": 10, "d": 11}


def test_no_request_is_for_more_registers_than_the_standard_allows() -> None:
    opened, wire = link()
    readings = ModbusSensor("air", opened, 7, [Register(f"r{n}", "1", n) for n in range(200)]).read(1.0)
    assert [count for _, _, count in wire.asked] == [125, 75]  # type: ignore[attr-defined]
    assert [r.value for r in readings] == list(range(200))


def test_two_quantities_may_share_a_register() -> None:
    opened, _ = link()
    registers = [Register("raw", "1", 5), Register("scaled", "1", 5, scale=10)]
    assert [r.value for r in ModbusSensor("air", opened, 7, registers).read(0.1)] == [5, 50]


@pytest.mark.parametrize("rtu", [True, False], ids=["rtu", "tcp"])
def test_a_refusal_is_told_as_one_with_what_to_do(rtu: bool) -> None:
    opened, _ = link({}, rtu=rtu)
    with pytest.raises(SensorRefused, match=r"device 7 refuses holding 0 \(exception 2\): it has no such register"):
        ask(opened)


def garbled(change: Callable[[bytes], bytes], *, rtu: bool) -> ModbusLink:
    opened, wire = link(rtu=rtu)
    wire.garble = change
    return opened


def rtu_frame(body: Sequence[int]) -> bytes:
    return bytes(body) + crc16(bytes(body))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda f: f[:-1], id="cut short"),
        pytest.param(lambda f: f[:3] + bytes([f[3] ^ 4]) + f[4:], id="a bit fell over"),
        pytest.param(lambda f: rtu_frame([7, 4, 2, 0, 9]), id="another function"),
        pytest.param(lambda f: rtu_frame([7, 3, 4, 0, 9, 0, 9]), id="more registers than asked"),
        pytest.param(lambda f: rtu_frame([7, 3, 0]), id="no registers"),
        pytest.param(lambda f: rtu_frame([9, 3, 2, 0, 9]), id="another device"),
        pytest.param(lambda f: rtu_frame([7, 0x84, 2]), id="a refusal of something else"),
        pytest.param(lambda f: b"\x00" * 300, id="a line held down"),
        pytest.param(lambda f: b"\xff" * 3, id="noise"),
    ],
)
def test_on_a_serial_line_nothing_else_passes_for_the_answer(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(SensorInvalid):
        ask(garbled(change, rtu=True))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda f: f[:-1], id="cut short"),
        pytest.param(lambda f: b"\x00\x00" + f[2:], id="transaction 0"),
        pytest.param(lambda f: b"\x11\x11" + f[2:], id="another transaction"),
        pytest.param(lambda f: f[:2] + b"\x00\x01" + f[4:], id="another protocol"),
        pytest.param(lambda f: f[:6] + b"\x09" + f[7:], id="another device"),
        pytest.param(lambda f: f[:7] + b"\x04" + f[8:], id="another function"),
        pytest.param(lambda f: f[:5] + b"\x07" + f[6:] + b"\x00\x00", id="lengths that disagree"),
        pytest.param(lambda f: f[:8] + b"\x03" + f[9:], id="an odd number of bytes"),
    ],
)
def test_over_tcp_nothing_else_passes_for_the_answer(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(SensorInvalid):
        ask(garbled(change, rtu=False))


def test_an_answer_to_an_earlier_request_is_passed_over() -> None:
    late = b"\x00\x63\x00\x00\x00\x05\x07\x03\x02\x12\x34"
    assert ask(garbled(lambda f: late + f, rtu=False)) == [0]


def test_an_answer_that_comes_in_pieces_is_put_together() -> None:
    opened, wire = link({("holding", 0): 0x1234})
    whole: list[bytes] = []

    def cut(frame: bytes) -> bytes:
        whole.extend([frame[2:4], frame[4:]])
        return frame[:2]

    wire.garble = cut
    receive = wire.receive
    wire.receive = lambda timeout_s: receive(timeout_s) or (whole.pop(0) if whole else b"")  # type: ignore[method-assign]
    assert ask(opened) == [0x1234]


def test_noise_before_the_answer_is_passed_over() -> None:
    opened, wire = link({("holding", 0): 0x1234})
    wire.garble = lambda frame: b"\x00" + frame
    assert ask(opened) == [0x1234]


def test_silence_is_told_with_what_to_look_at() -> None:
    opened, wire = link()
    wire.silent.add(7)
    with pytest.raises(SensorUnavailable, match="no answer from device 7 at fake; is it switched on"):
        ask(opened)


def test_bits_come_one_each_and_as_many_as_asked() -> None:
    opened, _ = link({("coil", n): int(n in (0, 2, 9)) for n in range(10)})
    assert ask(opened, 10, "coil") == [1, 0, 1, 0, 0, 0, 0, 0, 0, 1]


def test_a_line_is_let_go_with_its_last_user() -> None:
    opened, _ = link()
    opened.open("noise", 1.0)
    opened.close("air")
    assert opened.ask("noise", 7, "holding", 3, 1, 0.02) == [3]
    opened.close("noise")
    with pytest.raises(SensorUnavailable, match="not open"):
        opened.ask("noise", 7, "holding", 3, 1, 0.02)


def test_a_device_that_hung_up_while_nobody_asked_is_called_again_without_a_word() -> None:
    opened, wire = link(rtu=False)
    hung_up = [ConnectionResetError("the device closed the connection")]
    opens: list[float] = []

    def discard() -> None:
        if hung_up:
            raise hung_up.pop()

    wire.discard, wire.open = discard, opens.append  # type: ignore[method-assign]
    assert ask(opened) == [0]
    assert len(opens) == 1


def test_a_device_that_hangs_up_in_answer_is_not_called_again_at_once() -> None:
    opened, wire = link(rtu=False)

    def hang_up(timeout_s: float) -> bytes:
        raise ConnectionResetError("the device closed the connection")

    wire.receive = hang_up  # type: ignore[method-assign]
    with pytest.raises(SensorUnavailable, match="the device closed the connection"):
        ask(opened)


def test_a_line_that_is_held_by_a_call_that_hangs_is_not_waited_for() -> None:
    opened, wire = link()
    entered, leave = threading.Event(), threading.Event()

    def hang(timeout_s: float) -> bytes:
        entered.set()
        leave.wait(10)
        return b""

    wire.receive = hang  # type: ignore[method-assign]
    errors: list[Exception] = []

    def first() -> None:
        try:
            ask(opened)
        except SensorUnavailable as exc:
            errors.append(exc)

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait(10)
    with pytest.raises(SensorUnavailable, match="held by a call that does not return"):
        opened.ask("noise", 7, "holding", 0, 1, 0.02)
    leave.set()
    thread.join(10)
    assert len(errors) == 1
