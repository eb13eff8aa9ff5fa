"""What else can be read of an object that is followed: see `base`. One file a reader."""

from agent.vision.readers.base import Reader, Readers
from agent.vision.readers.colour import ColourReader

__all__ = ["ColourReader", "Reader", "Readers"]
