"""Runs the emulated Python: in namespaces of its own, as a board that looks like a board to what asks.

Which instructions there are is told by the emulator; which processor it is, libraries read from the kernel's files. The
kernel under an emulated program is this machine's, so those files are given as the board has them: without, XNNPACK
finds no arm64 processor and the slow reference kernels run, or it reads an x86 one and falls over.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.arm64.root import SITE, TOP
from tests.guest.tools import program

PYTHON = "/usr/bin/python3"
TREE = "/gateway-agent"  # this repository, read-only


@dataclass(frozen=True)
class Board:
    """cpu: as QEMU calls it. features, variant, part, revision: from the board's /proc/cpuinfo."""

    name: str
    cpu: str
    features: str
    variant: str
    part: str
    revision: int

    def cpuinfo(self) -> str:
        core = (
            f"BogoMIPS\t: 108.00\nFeatures\t: {self.features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
            f"CPU variant\t: {self.variant}\nCPU part\t: {self.part}\nCPU revision\t: {self.revision}\n"
        )
        return "".join(f"processor\t: {number}\n{core}\n" for number in range(4))


BOARDS = (
    Board("Raspberry Pi 4", "cortex-a72", "fp asimd evtstrm crc32 cpuid", "0x0", "0xd08", 3),
    # With dot products: XNNPACK has other INT8 kernels for it.
    Board(
        "Raspberry Pi 5",
        "cortex-a76",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
        "0x4",
        "0xd0b",
        1,
    ),
)

# Programs for arm64 are given to the emulator by the kernel itself, so that an emulated program can start others. The
# table that says so belongs to the user namespace (Linux 6.7 and newer): this machine's own stays as it is. F: the
# emulator is opened now, and need not be found in the root later.
_BINFMT = (
    r":arm64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:"
)
# The shell stays process 1 and Python is its child: a process 1 that crashes cannot even die of its signal.
_ENTER = """
root=$1 emulator=$2 tree=$3 cpuinfo=$4 binfmt=$5
shift 5
if mount -t binfmt_misc none /proc/sys/fs/binfmt_misc 2>/dev/null; then
  printf '%s' "$binfmt$emulator:F" >/proc/sys/fs/binfmt_misc/register
fi
ip link set lo up
mkdir -p "$root$TREE"
mount --bind "$tree" "$root$TREE"
mount -o remount,bind,ro "$root$TREE"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/sys"
mkdir -p "$root/sys/devices/system/cpu"
echo 0-3 | tee "$root/sys/devices/system/cpu/possible" >"$root/sys/devices/system/cpu/present"
printf '%s' "$cpuinfo" >"$root/tmp/cpuinfo"
mount --bind "$root/tmp/cpuinfo" "$root/proc/cpuinfo"
if ! chroot "$root" /bin/true; then
  echo "no arm64 program starts here: the kernel is older than 6.7; apt-get install qemu-user-static" >&2
  exit 69
fi
chroot "$root" "$@"
"""


def start(folder: Path, board: Board, arguments: Sequence[str], output: IO[str]) -> subprocess.Popen[str]:
    """Python with these arguments, in the repository. folder: what `root.prepared` gave.

    There is no network but a loopback of its own. End it by killing it: the kernel ends with it all that runs inside.
    """
    environment = {
        "PATH": "/usr/bin:/bin",  # unpacked as it comes, the root has two
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "CI": "1",  # Hypothesis then sets no time limits
        "QEMU_CPU": board.cpu,
        "PYTHONPATH": f"/{SITE}:{TREE}",
        "PYTHONPYCACHEPREFIX": "/var/cache/pyc",
    }
    namespaces = ["--user", "--map-root-user", "--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child"]
    inside = ["/usr/bin/env", "-i", f"--chdir={TREE}", *(f"{k}={v}" for k, v in environment.items()), PYTHON]
    paths = [str(folder / "root"), str(folder / "qemu-aarch64-static"), str(TOP)]
    script = _ENTER.replace("$TREE", TREE)
    return subprocess.Popen(
        [
            *(program("unshare"), *namespaces, "sh", "-ec", script, "sh", *paths, board.cpuinfo(), _BINFMT),
            *(*inside, *arguments),
        ],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    )
