"""Which TFLite runtime this machine has, and how to open a network with it.

`ai-edge-litert` first: it runs INT8 through XNNPACK and is many times faster. `tflite-runtime` where there is no such
wheel (armv7l). Nothing outside `drivers/inference` imports either.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any

from drivers.base import DriverError

# (module, distribution), best first.
_RUNTIMES = (("ai_edge_litert.interpreter", "ai-edge-litert"), ("tflite_runtime.interpreter", "tflite-runtime"))


def _load() -> tuple[Any, str]:
    """The first runtime that imports: its module and "distribution version". Raises DriverError when none does."""
    tried = []
    for module, distribution in _RUNTIMES:
        try:
            found = importlib.import_module(module)
        except ImportError as exc:
            tried.append(f"{distribution} ({exc})")
            continue
        return found, f"{distribution} {importlib.metadata.version(distribution)}"
    raise DriverError(
        f"no TFLite runtime: tried {', '.join(tried)}; wanted one of them in this Python; "
        f"install gateway-agent with its dependencies, or one of the two by hand"
    )


def runtime_name() -> str:
    """What networks run on here, such as "ai-edge-litert 2.3.0". Raises DriverError when there is nothing."""
    return _load()[1]


def open_interpreter(weights: bytes, threads: int) -> Any:
    """An interpreter over weights held in memory, tensors not yet allocated.

    Raises ValueError (the runtime's own) when the bytes are not a network it can read, DriverError without a runtime.
    """
    return _load()[0].Interpreter(model_content=weights, num_threads=threads)
