"""The gateway agent: see README.md, and agent/README.md for what it says to the operations centre."""

__version__ = "0.1.0"
