"""What the whole pipeline costs over bare decoding and inference, on one clip, measured side by side.

    python tests/bench/pipeline.py CLIP [--config gateway.toml --camera ID] [--rounds 3]

Three programs, each a process of its own, take turns; CPU time is the kernel's, start-up included:
  (a) decode   OpenCV decodes every frame
  (b) bare     and resizes it and runs the network, nothing else
  (c) replay   `gateway-agent replay --all-frames`, the whole pipeline
Then the gated replay at the camera's own fps, for the share of frames it gives to the detector.
The figure that counts is c/b; absolute times are this machine's.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
THREADS = 1  # more threads add spinning to the CPU time of (b) and (c) alike, and blur the ratio

DECODE = """
import sys, cv2
capture = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG)
frames = 0
while capture.read()[0]:
    frames += 1
print(frames)
"""

BARE = """
import sys, cv2, numpy as np
from drivers.inference import find_pack, load_pack
from drivers.inference.runtime import open_interpreter
pack = load_pack(find_pack(sys.argv[2]))
interpreter = open_interpreter(pack.weights, int(sys.argv[3]))
interpreter.allocate_tensors()
wanted = interpreter.get_input_details()[0]
size = (pack.manifest.input.width_px, pack.manifest.input.height_px)
capture = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG)
frames = 0
while True:
    ok, image = capture.read()
    if not ok:
        break
    small = cv2.resize(image, size)
    interpreter.set_tensor(wanted["index"], small[None].view(wanted["dtype"]))
    interpreter.invoke()
    frames += 1
print(frames)
"""


@dataclass(frozen=True)
class Cost:
    cpu_s: float
    wall_s: float
    rss_mb: float
    said: str


def measure(command: list[str]) -> Cost:
    """Run a program to its end; CPU time and peak memory are the kernel's account of that process."""
    began_s = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.monotonic() - began_s
        out.seek(0)
        err.seek(0)
        said, complaint = out.read(), err.read()
    if process.returncode not in (0, 1):
        sys.exit(f"{' '.join(command[:4])} …: exit code {process.returncode}\n{complaint}")
    return Cost(usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss / 1024, said.strip() or complaint.strip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--config", type=Path, help="configuration with the camera (default: one line across)")
    parser.add_argument("--camera", default="bench")
    parser.add_argument("--pack", default="ssd-mobilenet-v3-large-coco-320-int8")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "bench.toml"
        text = args.config.read_text() if args.config else _CONFIG
        config.write_text(f'{text}\n[detector]\npack = "{args.pack}"\nthreads = {THREADS}\n')
        replay = [sys.executable, "-m", "agent", "replay", "--config", str(config), "--camera", args.camera]
        replay += ["--source", str(args.clip), "--events", str(Path(folder) / "events.jsonl")]
        programs = {
            "a decode": [sys.executable, "-c", DECODE, str(args.clip)],
            "b bare": [sys.executable, "-c", BARE, str(args.clip), args.pack, str(THREADS)],
            "c replay": [*replay, "--all-frames"],
        }
        costs: dict[str, list[Cost]] = {name: [] for name in programs}
        for _ in range(args.rounds):
            for name, command in programs.items():
                costs[name].append(measure(command))
        gated = measure(replay)
    frames = int(costs["a decode"][0].said)
    print(f"{args.clip.name}: {frames} frames, {args.rounds} rounds, {THREADS} thread(s), {args.pack}")
    for name, runs in costs.items():
        cpu_s = statistics.median(run.cpu_s for run in runs)
        fps = frames / statistics.median(run.wall_s for run in runs)
        print(f"  {name:9} {1000 * cpu_s / frames:7.2f} ms CPU a frame   {fps:6.1f} fps   {runs[-1].rss_mb:5.0f} MB")
    # Paired by round: what else the machine does weighs on neighbours alike.
    ratios = [c.cpu_s / b.cpu_s for b, c in zip(costs["b bare"], costs["c replay"], strict=True)]
    print(f"  c/b CPU {statistics.median(ratios):.3f}  (rounds: {', '.join(f'{r:.3f}' for r in ratios)})")
    print(f"  gated     {1000 * gated.cpu_s / frames:7.2f} ms CPU a frame of the clip; {gated.said.splitlines()[-1]}")


_CONFIG = """
[box]
site = "bench"
id = "bench"
[[camera]]
id = "bench"
source = "file:unused"
[[camera.line]]
id = "across"
a = [0.05, 0.5]
b = [0.95, 0.5]
"""

if __name__ == "__main__":
    main()
