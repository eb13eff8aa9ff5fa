"""Sentences of receivers: what is taken, and everything that only looks like it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from drivers.base import Reading, SensorInvalid, SensorUnavailable, TimeOffer
from drivers.sensors.fakes import FakeGnss, FakeSerialPort, sentence
from drivers.sensors.nmea import NmeaSensor, parse, quality, when, where

RMC = "GPRMC,083559.00,A,2101.71000,N,10551.25200,E,0.0,0.0,251126,,,A"
GGA = "GPGGA,083559.00,2101.71000,N,10551.25200,E,1,09,1.1,12.4,M,-28.0,M,,"


def line(body: str) -> str:
    return sentence(body).decode().strip()


def reader(*fed: bytes | OSError) -> tuple[NmeaSensor, FakeSerialPort]:
    port = FakeSerialPort(fed)
    sensor = NmeaSensor("gnss", port)
    sensor.open()
    return sensor, port


def values(readings: list[Reading]) -> dict[str, float]:
    return {reading.quantity: reading.value for reading in readings}


def test_position_height_and_satellites_are_told_with_the_time() -> None:
    sensor, _ = reader(sentence(GGA), sentence(RMC))
    assert values(sensor.read(1.0)) == {
        "latitude": 21.0285,
        "longitude": 105.8542,
        "satellites": 9,
        "altitude": 12.4,
    }
    offer = sensor.time_offer()
    assert isinstance(offer, TimeOffer)
    assert datetime.fromtimestamp(offer.utc_ms / 1000, UTC) == datetime(2026, 11, 25, 8, 35, 59, tzinfo=UTC)


def test_the_time_is_not_offered_where_it_is_not_wanted() -> None:
    port = FakeSerialPort([sentence(RMC)])
    sensor = NmeaSensor("gnss", port, offers_time=False)
    sensor.open()
    sensor.read(1.0)
    assert sensor.time_offer() is None


def test_a_sentence_that_comes_byte_by_byte_is_put_together() -> None:
    sensor, _ = reader(*(bytes([byte]) for byte in sentence(RMC)))
    assert values(sensor.read(1.0))["latitude"] == 21.0285


def test_a_receiver_without_a_fix_is_no_position_and_no_time() -> None:
    sensor, _ = reader(FakeGnss(satellites=2).talks(1_795_500_000_000))
    with pytest.raises(SensorInvalid, match="no fix yet, 2 satellites; does the antenna see the sky"):
        sensor.read(1.0)
    assert sensor.time_offer() is None


def test_a_silent_receiver_and_a_wrong_baud_rate_are_told_apart() -> None:
    sensor, port = reader()
    with pytest.raises(SensorUnavailable, match=r"says nothing for 0.02 s; is the receiver on"):
        sensor.read(0.02)
    port.feed(b"\x80\xf0\x1c" * 30 + b"\n")
    with pytest.raises(SensorInvalid, match="is the baud rate right"):
        sensor.read(0.02)


def test_a_damaged_sentence_is_passed_over_and_the_next_one_taken() -> None:
    damaged = sentence(RMC).replace(b"2101", b"2901")
    sensor, _ = reader(damaged, sentence(RMC))
    assert values(sensor.read(1.0))["latitude"] == 21.0285


def test_endless_noise_without_a_line_end_takes_no_memory() -> None:
    sensor, _ = reader(*[b"x" * 100] * 50)
    with pytest.raises(SensorInvalid):
        sensor.read(0.05)
    assert len(sensor._rest) <= 120


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"${RMC}", id="no checksum, which pynmea2 takes"),
        pytest.param(line(RMC)[:-2] + "00", id="a wrong checksum"),
        pytest.param(line(RMC)[:-5], id="cut short"),
        pytest.param(line(RMC) + line(RMC), id="two in one line"),
        pytest.param(line(RMC).replace("$GP", "GP"), id="no beginning"),
        pytest.param("$GPRMC", id="nothing in it"),
        pytest.param("", id="nothing"),
        pytest.param(line("GPRMC," + "9" * 130), id="too long"),
        pytest.param("$GPRMC,\x00\x01*00", id="control characters"),
    ],
)
def test_what_is_no_whole_sentence_is_refused(text: str) -> None:
    with pytest.raises(SensorInvalid):
        parse(text)


@pytest.mark.parametrize("body", ["GPGSV,3,1,11,03,03,111,00", "PUBX,00,081350.00", "GPTXT,01,01,02,ANTSTATUS=OK"])
def test_other_kinds_are_passed_over(body: str) -> None:
    assert parse(line(body)) is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(("2101.71000,N", "9101.71000,N"), id="north of the pole"),
        pytest.param(("10551.25200,E", "18151.25200,E"), id="east of the end"),
        pytest.param(("2101.71000", "2161.71000"), id="61 minutes"),
        pytest.param(("2101.71000", "2101"), id="no minutes' fraction"),
        pytest.param((",N,", ",X,"), id="no such side"),
        pytest.param((",N,", ",,"), id="no side"),
        pytest.param(("2101.71000", "-101.71000"), id="a sign"),
    ],
)
def test_a_place_that_is_not_on_earth_is_refused(change: tuple[str, str]) -> None:
    rmc = parse(line(RMC.replace(*change)))
    with pytest.raises(SensorInvalid):
        where(rmc, 0.0)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param((",A,2101", ",V,2101"), id="void"),
        pytest.param((",,,A", ",,,N"), id="mode: none"),
        pytest.param((",,,A", ",,,E"), id="mode: dead reckoning"),
        pytest.param((",,,A", ",,,S"), id="mode: simulator"),
    ],
)
def test_a_position_that_was_not_measured_is_none(change: tuple[str, str]) -> None:
    assert where(parse(line(RMC.replace(*change))), 0.0) is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(("083559.00", "083560.00"), id="a leap second"),
        pytest.param(("083559.00", "253559.00"), id="25 o'clock"),
        pytest.param(("083559.00", ""), id="no time"),
        pytest.param(("251126", "310226"), id="the 31st of February"),
        pytest.param(("251126", ""), id="no date"),
        pytest.param((",A,2101", ",V,2101"), id="no fix"),
    ],
)
def test_a_time_that_cannot_be_read_is_none(change: tuple[str, str]) -> None:
    assert when(parse(line(RMC.replace(*change)))) is None


def test_a_height_without_a_fix_is_not_told() -> None:
    no_fix = GGA.replace(",E,1,09", ",E,0,03")
    assert values(quality(parse(line(no_fix)), 0.0)) == {"satellites": 3}
