"""Many boxes at once: from one table to a configuration, a token and a card for each.

The table is CSV in UTF-8 with a header, as spreadsheets save it (',' or ';'). The whole of it is checked before
anything is written, and each mistake is told with its row and column.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from agent import config
from agent.durable import sync_folder, write_private, write_whole
from agent.errors import ConfigError
from agent.identity.certificate import box_name, fingerprint, pem
from agent.identity.est import EstServer
from provisioning.ca.authority import Authority, CaError

_NEEDED = ("site", "box", "broker")
_KNOWN = (*_NEEDED, "port", "timezone", "note")
_CAMERA = re.compile(r"camera:(?P<id>.+)")
_CREDENTIALS = "/etc/gateway-agent/credentials"
_LONGEST_TABLE = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Box:
    row: int  # as a spreadsheet counts, the header is 1
    name: str
    toml: str
    note: str


def provision(
    authority: Authority, table: Path, out: Path, *, server: str, hours: float, append: Path | None, now: datetime
) -> int:
    """Make out/SITE_BOX/{gateway.toml,ca.pem,token,server,card.html} for each row. Returns how many.

    All or nothing: the folder appears when it is complete. Raises CaError with every mistake, one a line.
    """
    if out.exists():
        raise CaError(f"{out}: exists; wanted a new folder: tokens made before are in it")
    try:
        url = EstServer(server).url
    except ValueError as exc:
        raise CaError(f"--server {exc}") from exc
    boxes = read_table(table, append.read_text(encoding="utf-8") if append is not None else "")
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".fleet-", dir=out.parent))
    try:
        for box in boxes:
            folder = unfinished / box.name.replace("/", "_")
            folder.mkdir(mode=0o700)
            token = authority.new_token(box.name, hours=hours, now=now)
            write_whole(folder / "gateway.toml", box.toml.encode())
            write_whole(folder / "ca.pem", pem([authority.root]))
            write_private(folder / "token", f"{token}\n".encode())
            write_whole(folder / "server", f"{url}\n".encode())  # for provision.sh --card
            card = _card(box, token, url, fingerprint(authority.root), now + timedelta(hours=hours))
            write_private(folder / "card.html", card.encode())
        unfinished.rename(out)
        sync_folder(out.parent)
    except BaseException:
        shutil.rmtree(unfinished)
        raise
    return len(boxes)


def read_table(path: Path, append: str) -> list[Box]:
    """append: TOML behind each box's own. Raises CaError with every mistake found."""
    content = path.read_bytes()
    if len(content) > _LONGEST_TABLE:
        raise CaError(f"{path}: larger than {_LONGEST_TABLE // 1024 // 1024} MB; is it the table?")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise CaError(f"{path}: not UTF-8 (byte {exc.start}); save it as CSV UTF-8") from exc
    header = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=";" if header.count(";") > header.count(",") else ",")
    mistakes: list[str] = []
    boxes: list[Box] = []
    try:
        columns = [cell.strip() for cell in next(rows, [])]
        mistakes += [f"{path}: row 1: {words}" for words in _header_mistakes(columns)]
        if mistakes:
            raise CaError("\n".join(mistakes))
        seen: dict[str, int] = {}
        for cells in rows:
            number = rows.line_num
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{path}: row {number}"
            if len(cells) > len(columns) and any(cell.strip() for cell in cells[len(columns) :]):
                mistakes.append(f"{where}: found {len(cells)} cells; wanted {len(columns)}, as in the header")
                continue
            values = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
            values = {column: values.get(column, "") for column in columns}
            box, wrong = _box(number, values, append)
            mistakes += [f"{where}, column {words}" for words in wrong]
            if box is None:
                continue
            if box.name in seen:
                mistakes.append(f"{where}, column box: {box.name} is in row {seen[box.name]} already; wanted each once")
            seen.setdefault(box.name, number)
            boxes.append(box)
    except csv.Error as exc:
        raise CaError(f"{path}: row {rows.line_num}: not CSV: {exc}") from exc
    if mistakes:
        raise CaError("\n".join(mistakes))
    if not boxes:
        raise CaError(f"{path}: no box in it; wanted a row for each below the header")
    return boxes


def _header_mistakes(columns: list[str]) -> list[str]:
    wrong = [f"column {name} is missing" for name in _NEEDED if name not in columns]
    wrong += [
        f"unknown column {name!r}; wanted {', '.join(_KNOWN)} or camera:ID"
        for name in columns
        if name not in _KNOWN and not _CAMERA.fullmatch(name)
    ]
    wrong += [
        f"column {name} is there {columns.count(name)} times"
        for name in sorted(set(columns))
        if columns.count(name) > 1
    ]
    if not any(_CAMERA.fullmatch(name) for name in columns):
        wrong.append("no camera; wanted a column camera:ID for each, such as camera:north, with its source")
    return wrong


def _box(row: int, values: dict[str, str], append: str) -> tuple[Box | None, list[str]]:
    """The box, or what is wrong with its row: 'column: what'."""
    wrong = [f"{name}: empty; wanted a value" for name in _NEEDED if not values[name]]
    port = values.get("port", "")
    if port and not re.fullmatch(r"[0-9]{1,5}", port):
        wrong.append(f"port: found {port!r}; wanted a whole number")
    if wrong:
        return None, wrong
    cameras = {
        match["id"]: source
        for column, source in values.items()
        if source and (match := _CAMERA.fullmatch(column)) is not None
    }
    try:
        name = box_name(values["site"], values["box"])
    except ValueError as exc:
        return None, [f"{'box' if str(exc).startswith('box ') else 'site'}: {exc}"]
    toml = _toml(values, cameras, append)
    try:
        config.parse(toml, name)
    except ConfigError as exc:
        return None, [_placed(line.removeprefix(f"{name}: "), list(cameras)) for line in str(exc).splitlines()]
    return Box(row, name, toml, values.get("note", "")), []


def _toml(values: dict[str, str], cameras: dict[str, str], append: str) -> str:
    lines = ["[box]", f"site = {_quoted(values['site'])}", f"id = {_quoted(values['box'])}"]
    if values.get("timezone"):
        lines.append(f"timezone = {_quoted(values['timezone'])}")
    lines += ["", "[[broker]]", f"host = {_quoted(values['broker'])}"]
    if values.get("port"):
        lines.append(f"port = {int(values['port'])}")
    for camera, source in cameras.items():
        lines += ["", "[[camera]]", f"id = {_quoted(camera)}", f"source = {_quoted(source)}"]
        if re.match(r"(snapshot:)?(rtsps?|https?):", source, re.IGNORECASE):
            lines.append(f'# credentials_file = "{_CREDENTIALS}/{camera}.toml"   # where the camera wants a login')
        lines.append("# draw lines and zones on the spot: provisioning/README.md, Draw a line")
    return "\n".join(lines) + "\n" + (f"\n{append.strip()}\n" if append.strip() else "")


def _quoted(text: str) -> str:
    """As a TOML basic string, whose escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _placed(mistake: str, cameras: list[str]) -> str:
    """'camera[2].source: …' → 'camera:south: …': the column that the key came from."""
    key, _, what = mistake.partition(": ")
    found = re.fullmatch(r"camera\[(\d+)\].*", key)
    if found and int(found[1]) <= len(cameras):
        return f"camera:{cameras[int(found[1]) - 1]}: {what}"
    column = {
        "box.site": "site",
        "box.id": "box",
        "box.timezone": "timezone",
        "broker[1].host": "broker",
        "broker[1].port": "port",
    }.get(key)
    if column is not None:
        return f"{column}: {what}"
    if key == "the file":
        return f"camera: {what}"
    return f"(--append) {mistake}"


def _card(box: Box, token: str, server: str, root: str, until: datetime) -> str:
    """One printed page that goes with the box: what to type on the spot. In Vietnamese and English."""
    groups = " ".join(root[n : n + 4] for n in range(0, len(root), 4))
    command = f"sudo gateway-agent identity enrol --server {server} --ca /etc/gateway-agent/ca.pem"
    rows = [
        ("Thiết bị / box", box.name),
        ("Mã một lần / one-time token", token),
        ("Dùng đến / good until", f"{until:%F %H:%M} UTC"),
        ("Máy chủ cấp / authority", server),
        ("SHA-256", groups),
        *([("Ghi chú / note", box.note)] if box.note else []),
    ]
    body = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
    return f"""<!doctype html>
<html lang="vi"><head><meta charset="utf-8"><title>{html.escape(box.name)}</title>
<style>body{{font:14pt sans-serif;margin:2cm}}th{{text-align:left;padding-right:1em;vertical-align:top}}
td,code{{font-family:monospace}}code{{display:block;border:1px solid;padding:.5em;margin:.5em 0}}</style></head><body>
<h1>{html.escape(box.name)}</h1><table>{body}</table>
<p>Thiết bị chưa cài: chạy provision.sh --card với thư mục của thẻ này. Đã cài: chép gateway.toml và ca.pem vào
/etc/gateway-agent/, chạy lệnh dưới đây, gõ mã khi được hỏi. Xong thì hủy thẻ và thư mục.<br>
A box that is not installed: provision.sh --card with this card's folder. One that is: copy gateway.toml and ca.pem to
/etc/gateway-agent/, run the command below, type the token when asked. Then destroy the card and the folder.</p>
<code>{html.escape(command)}</code></body></html>
"""
