"""The verb `model`: which model packs there are, and whether each is whole."""

from __future__ import annotations

import argparse
import sys

from drivers.base import ModelPackError
from drivers.inference import find_pack, list_packs, load_pack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pack", nargs="*", metavar="PACK", help="a bundled pack's name or a pack's folder (default: all bundled ones)"
    )


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 1 if a pack is not whole."""
    problems = 0
    for name in args.pack or list_packs():
        try:
            pack = load_pack(find_pack(name))
            variants = [load_pack(pack.path, variant=variant) for variant in pack.manifest.variant]
        except ModelPackError as exc:
            print(f"model: {exc}", file=sys.stderr)
            problems += 1
            continue
        manifest = pack.manifest
        size = f"{manifest.input.width_px}x{manifest.input.height_px}"
        print(f"{pack.label}: fine; {size}, {manifest.quantisation}, {len(pack.weights)} bytes, {manifest.licence}")
        for variant in variants:
            print(f"  for {variant.variant}: fine, {len(variant.weights)} bytes")
    return 1 if problems else 0
