"""The agent on the processor of the boards it is for, emulated: `python -m tests.arm64`.

A small Debian for arm64 with its own Python and the aarch64 wheels of the lock file, run by QEMU's user emulation. What
is tested is therefore our code on these wheels, and their compiled code for the processors of two boards; not the
kernels of these boards, not their devices, and not their speed.
"""
