"""Which TFLite runtime this machine has, and how to open a network with it.

`ai-edge-litert` first: it runs INT8 through XNNPACK and is many times faster. `tflite-runtime` where there is no such
wheel (armv7l). Nothing outside `drivers/inference` imports either.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Mapping
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


def open_interpreter(
    weights: bytes, threads: int, delegate_library: str | None = None, delegate_options: Mapping[str, str] | None = None
) -> Any:
    """An interpreter over weights held in memory, tensors not yet allocated.

    threads: for what runs on the processor, by XNNPACK where the runtime has it.
    delegate_library: a shared library that takes what it can of the network; see `drivers.inference.accelerator`.
    Raises ValueError or RuntimeError (the runtime's own) when the bytes are not a network it can read or the delegate
    refuses it, DriverError without a runtime or when the library is none.
    """
    module = _load()[0]
    delegates = []
    if delegate_library is not None:
        try:
            delegates = [module.load_delegate(delegate_library, dict(delegate_options or {}))]
        except (OSError, AttributeError) as exc:  # not there; not loadable here; not a delegate
            raise DriverError(f"{exc}; is the accelerator's runtime library installed, for this processor?") from exc
        except ValueError as exc:  # the library's own words stand behind a line of the runtime's
            raise DriverError(str(exc).partition("\n")[2].strip() or "it refuses without a word") from exc
    return module.Interpreter(model_content=weights, num_threads=threads, experimental_delegates=delegates)
