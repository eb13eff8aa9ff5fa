"""How right the counts and the stays are: `replay` over every clip of a folder with ground truth.

    python tests/bench/accuracy.py FOLDER [--all-frames] [--pack NAME] [--camera KEY=VALUE …] [--out DIR]

FOLDER holds clips, gt/NAME.json (the clip's name, its lines and zones, what crossed when, who stayed where) and
score.py, which reads one {"line", "class", "direction", "frame"} a line and judges the crossings. Stays in zones are
judged here: enter and exit of the same stay, each within a second. One configuration serves all clips; lines and zones
are the clip's. Without --all-frames the camera's default fps and motion gate apply, as they do on the box.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STAY_TOLERANCE_S = 1.0


def config_for(truth: dict[str, Any], clip: Path, pack: str, camera_keys: list[str] | None = None) -> str:
    """The configuration of one clip: nothing in it but what the ground truth draws, and the keys to try."""
    text = f'[box]\nsite = "bench"\nid = "bench"\n[detector]\npack = "{pack}"\n'
    text += f'[[camera]]\nid = "bench"\nsource = "file:{clip}"\n'
    text += "".join(f"{key}\n" for key in camera_keys or [])
    for line in truth["lines"]:
        text += f'[[camera.line]]\nid = "{line["id"]}"\na = {line["a"]}\nb = {line["b"]}\n'
    for zone in truth["zones"]:
        text += f'[[camera.zone]]\nid = "{zone["id"]}"\npolygon = {zone["polygon"]}\n'
    return text


def stays(events: list[dict[str, Any]], zone: str) -> list[tuple[int, int | None]]:
    """Frames of enter and exit of each stay in a zone that was told, in the order of entering."""
    exits = {e["track"]: e["frame"] for e in reversed(events) if e["kind"] == "exit" and e["zone"] == zone}
    return [(e["frame"], exits.get(e["track"])) for e in events if e["kind"] == "enter" and e["zone"] == zone]


def judge_stays(truth: dict[str, Any], events: list[dict[str, Any]]) -> list[str]:
    """A line for each zone: how many of its stays were found whole, how many were told beyond them."""
    tolerance = STAY_TOLERANCE_S * truth["fps"]
    lines = []
    for zone in truth["zones"]:
        told = stays(events, zone["id"])
        found = 0
        for stay in zone["events"]:
            for pair in told:
                enter_off = abs(pair[0] - stay["enter"])
                if pair[1] is not None and enter_off <= tolerance and abs(pair[1] - stay["exit"]) <= tolerance:
                    found += 1
                    told.remove(pair)
                    break
        lines.append(
            f"  zone {zone['id']}: {found} of {len(zone['events'])} stays found, others told: {told or 'none'}"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all-frames", action="store_true")
    parser.add_argument("--pack", default="ssd-mobilenet-v3-large-coco-320-int8")
    parser.add_argument("--camera", action="append", default=[], metavar="KEY=VALUE", help="a key of [[camera]] to try")
    parser.add_argument("--out", type=Path, help="keep configurations, events and crossings here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out: Path = args.out or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        for path in sorted((args.folder / "gt").glob("*.json")):
            truth = json.loads(path.read_text())
            clip = (args.folder / truth["clip"]).resolve()
            config, events = out / f"{path.stem}.toml", out / f"{path.stem}.events.jsonl"
            config.write_text(config_for(truth, clip, args.pack, args.camera))
            command = [sys.executable, "-m", "agent", "replay", "--config", str(config), "--camera", "bench"]
            command += ["--source", str(clip), "--events", str(events), *(["--all-frames"] if args.all_frames else [])]
            done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                sys.exit(f"{path.stem}: replay ended with {done.returncode}\n{done.stderr}")
            print(f"{path.stem}: {done.stderr.splitlines()[-1]}")
            said = [json.loads(line) for line in events.read_text().splitlines()]
            for line in judge_stays(truth, said):
                print(line)
            crossings = [json.dumps(event) for event in said if event["kind"] == "crossing"]
            (out / f"{path.stem}.jsonl").write_text("".join(f"{line}\n" for line in crossings))
        score = [sys.executable, str(args.folder / "score.py"), "--all", str(args.folder / "gt"), str(out)]
        sys.exit(subprocess.run(score, check=False).returncode)


if __name__ == "__main__":
    main()
