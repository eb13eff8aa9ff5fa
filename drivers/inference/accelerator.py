"""Accelerators: a TFLite delegate, which a maker ships as a shared library, runs the network or parts of it.

A library of somebody else's is tried out in a process of its own first (`python -m drivers.inference.accelerator`): it
may be missing, refuse, crash or hang, and in each case the box goes on with its processor and says why.

Edge TPU and others have not been run on their hardware yet; what the tests load is a delegate of their own, by the same
stable interface (tflite_plugin_create_delegate).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import drivers
from drivers.base import DriverError, ModelPackError
from drivers.inference.runtime import open_interpreter

if TYPE_CHECKING:
    from drivers.inference.pack import ModelPack

CPU = "cpu"
_LIBRARIES = {"edgetpu": "libedgetpu.so.1"}
_TRIAL_TIMEOUT_S = 60.0  # an Edge TPU on USB is loaded with its firmware first
_LONGEST_REASON = 120


@dataclass(frozen=True, slots=True)
class Accelerator:
    """delegate: "edgetpu", or the path of a delegate's library. options: what that library understands."""

    delegate: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def library(self) -> str:
        return _LIBRARIES.get(self.delegate, self.delegate)

    @property
    def name(self) -> str:
        """What to call it, and the variant of a pack that is made for it: "edgetpu"; "libvx_delegate" for a path."""
        return Path(self.delegate).name.partition(".so")[0]


def check_delegate(delegate: str) -> None:
    """Raises ValueError with a sentence if this cannot name a delegate. Opens nothing."""
    if delegate == CPU or delegate in _LIBRARIES or (delegate.startswith("/") and ".so" in Path(delegate).name):
        return
    known = ", ".join(f'"{name}"' for name in (CPU, *_LIBRARIES))
    raise ValueError(f'found "{delegate}"; wanted {known} or the path of a delegate\'s library, "/usr/lib/lib….so"')


def why_not(pack: ModelPack, accelerator: Accelerator, threads: int) -> str | None:
    """Try it out on the pack in a process of its own. None if it works, else why it does not."""
    request = {
        "pack": str(pack.path),
        "variant": pack.variant,
        "threads": threads,
        "delegate": accelerator.delegate,
        "options": dict(accelerator.options),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "drivers.inference.accelerator"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TRIAL_TIMEOUT_S,
            env={**os.environ, "PYTHONPATH": str(Path(drivers.__file__).resolve().parents[1])},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it did not finish one look within {_TRIAL_TIMEOUT_S:g} s"
    except OSError as exc:
        return f"it cannot be tried out: {exc.strerror}"
    if done.returncode < 0:
        return f"it was ended by {signal.Signals(-done.returncode).name}"
    answer = done.stdout.rstrip().rpartition("\n")[2]
    if answer == "works":
        return None
    return _short(answer.removeprefix("fails: ") or f"it ended with {done.returncode}")


def _short(words: str) -> str:
    text = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 1] + "…"


def _try_out() -> None:
    """The process of its own. Its last word is on stdout's last line; libraries print there too."""
    from drivers.inference.pack import load_pack

    request = json.load(sys.stdin)
    accelerator = Accelerator(request["delegate"], request["options"])
    try:
        pack = load_pack(request["pack"], variant=request["variant"])
        network = open_interpreter(pack.weights, request["threads"], accelerator.library, accelerator.options)
        network.allocate_tensors()
        for tensor in network.get_input_details():
            network.set_tensor(tensor["index"], np.zeros(tensor["shape"], tensor["dtype"]))
        network.invoke()
    except (DriverError, ModelPackError, ValueError, RuntimeError) as exc:
        print(f"\nfails: {_short(str(exc))}", flush=True)
    else:
        print("\nworks", flush=True)
    os._exit(0)  # at once: what was refused half way does not take kindly to being tidied up


if __name__ == "__main__":
    _try_out()
