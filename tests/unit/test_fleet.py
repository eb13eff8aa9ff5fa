"""A table of boxes becomes configurations, tokens and cards; a mistake in it is told with its row and column."""

from __future__ import annotations

import hashlib
import sqlite3
import tomllib
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent import config
from agent.identity.certificate import make_request, new_key
from provisioning.ca.authority import Authority, CaError, create
from provisioning.ca.fleet import provision, read_table

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HEAD = "site,box,broker,port,camera:north,camera:south,note\n"
GOOD = (
    HEAD
    + 'cua-bac,gw-01,ioc.city,8884,rtsp://10.0.0.21/s1,,"cột 7, phía bắc"\ncua-bac,gw-02,ioc.city,,v4l2:/dev/video0,rtsp://10.0.0.22/s1,\n'
)


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return create(tmp_path_factory.mktemp("ca") / "ca", "Test city", b"correct horse battery", now=NOW)


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "fleet.csv"
    path.write_bytes(text.encode(encoding))
    return path


def make(city: Authority, folder: Path, table: Path, append: Path | None = None) -> int:
    server = "https://ca.city:8443"
    return provision(city, table, folder / "out", server=server, hours=720, append=append, now=NOW)


def test_a_table_becomes_a_folder_for_each_box(city: Authority, tmp_path: Path) -> None:
    more = tmp_path / "more.toml"
    more.write_text('[uplink]\npayload = "cbor"\n')
    assert make(city, tmp_path, written(tmp_path, GOOD), more) == 2
    folders = sorted((tmp_path / "out").iterdir())
    assert [folder.name for folder in folders] == ["cua-bac_gw-01", "cua-bac_gw-02"]
    for folder, cameras in zip(folders, (["north"], ["north", "south"]), strict=True):
        settings = config.load(folder / "gateway.toml")
        assert [camera.id for camera in settings.camera] == cameras
        assert settings.uplink.payload == "cbor"
        token = (folder / "token").read_text().strip()
        card = (folder / "card.html").read_text(encoding="utf-8")
        assert token in card
        assert "https://ca.city:8443" in card
        assert (folder / "server").read_text() == "https://ca.city:8443\n"
        assert (folder / "ca.pem").read_bytes() == (city.folder / "ca.pem").read_bytes()
        modes = {
            path.name: path.stat().st_mode & 0o077 for path in folder.iterdir() if path.name in ("token", "card.html")
        }
        assert modes == {"token": 0, "card.html": 0}
        assert token.encode() not in b"".join(path.read_bytes() for path in city.folder.iterdir())
        name = folder.name.replace("_", "/")
        assert city.enrol(make_request(new_key(), name), token, now=NOW).subject.rfc4514_string() == f"CN={name}"
    assert config.load(folders[0] / "gateway.toml").broker[0].port == 8884
    assert "cột 7, phía bắc" in (folders[0] / "card.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\ufeff" + GOOD, id="as Excel saves UTF-8"),
        pytest.param(GOOD.replace("\n", "\r\n"), id="line ends of Windows"),
    ],
)
def test_what_spreadsheets_save_is_read(tmp_path: Path, text: str) -> None:
    assert [box.name for box in read_table(written(tmp_path, text), "")] == ["cua-bac/gw-01", "cua-bac/gw-02"]


def test_semicolons_are_read_as_in_countries_with_a_decimal_comma(tmp_path: Path) -> None:
    text = "site;box;broker;camera:north\ncua-bac;gw-01;ioc.city;rtsp://10.0.0.21/s1\n"
    assert [box.name for box in read_table(written(tmp_path, text), "")] == ["cua-bac/gw-01"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "row 1: column site is missing", id="empty file"),
        pytest.param("site,box,camera:n\n", "row 1: column broker is missing", id="no broker column"),
        pytest.param("site,box,broker,camra:n\n", "row 1: unknown column 'camra:n'", id="mistyped column"),
        pytest.param("site,box,broker\n", "row 1: no camera", id="no camera column"),
        pytest.param("site,box,site,broker,camera:n\n", "row 1: column site is there 2 times", id="column twice"),
        pytest.param(HEAD, "no box in it", id="header alone"),
        pytest.param(HEAD + "\n,,,,,,\n", "no box in it", id="blank rows"),
        pytest.param(HEAD + "a,,x,,file:c,,\n", "row 2, column box: empty", id="empty cell"),
        pytest.param(HEAD + "a/b,c,x,,file:c,,\n", "row 2, column site: site 'a/b'", id="slash in a name"),
        pytest.param(HEAD + "a,c+,x,,file:c,,\n", "row 2, column box: box 'c+'", id="wildcard in a name"),
        pytest.param(HEAD + "a,c,x,mqtt,file:c,,\n", "row 2, column port: found 'mqtt'", id="port in letters"),
        pytest.param(HEAD + "a,c,x,99999,file:c,,\n", "row 2, column port: found 99999", id="port out of range"),
        pytest.param(HEAD + "a,c,x:1,,file:c,,\n", "row 2, column broker: ", id="broker with a port"),
        pytest.param(HEAD + "a,c,x,,file:c,ftp://y,\n", "row 2, column camera:south: ", id="source of no known kind"),
        pytest.param(HEAD + "a,c,x,,,,\n", "row 2, column camera: ", id="no camera at all"),
        pytest.param(HEAD + "a,c,x,,file:c,,\na,c,x,,file:c,,\n", "row 3, column box: a/c is in row 2", id="box twice"),
        pytest.param(HEAD + "a,c,x,,file:c,,,more\n", "row 2: found 8 cells; wanted 7", id="a cell too many"),
        pytest.param(HEAD + "\x00,c,x,,file:c,,\n", "row 2", id="a zero byte"),
    ],
)
def test_a_mistake_is_told_with_row_and_column_and_nothing_is_made(
    city: Authority, tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(CaError) as caught:
        make(city, tmp_path, written(tmp_path, text))
    assert words in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["fleet.csv"]


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(CaError) as caught:
        read_table(written(tmp_path, HEAD + "a,,x,,file:c,,\n\na,c,x,,ftp://y,gopher://z,\n"), "")
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        "row 2, column box",
        "row 4, column camera:north",
        "row 4, column camera:south",
    ]


def test_a_login_in_a_source_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(CaError, match="column camera:north") as caught:
        read_table(written(tmp_path, HEAD + "a,c,x,,rtsp://admin:geheim@10.0.0.1/s,,\n"), "")
    assert "geheim" not in str(caught.value)


def test_a_table_that_is_not_utf_8_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(CaError, match="save it as CSV UTF-8"):
        read_table(written(tmp_path, GOOD, "utf-16"), "")


def test_a_value_cannot_break_out_of_its_place_in_the_configuration(tmp_path: Path) -> None:
    text = HEAD + 'a,c,x,,"file:c""\n[uplink]\npayload = ""cbor",,\n'
    (box,) = read_table(written(tmp_path, text), "")
    assert set(tomllib.loads(box.toml)) == {"box", "broker", "camera"}


def test_a_second_run_does_not_overwrite_the_tokens_of_the_first(city: Authority, tmp_path: Path) -> None:
    table = written(tmp_path, GOOD)
    make(city, tmp_path, table)
    before = (tmp_path / "out" / "cua-bac_gw-01" / "token").read_text()
    with pytest.raises(CaError, match="exists"):
        make(city, tmp_path, table)
    with closing(sqlite3.connect(city.folder / "ca.db")) as db:
        hashes = {row[0] for row in db.execute("select hash from token where used_s is null")}
    assert hashlib.sha256(before.strip().replace("-", "").encode()).hexdigest() in hashes
