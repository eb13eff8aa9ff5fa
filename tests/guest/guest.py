"""A computer in a computer, to be broken: its own kernel, its own disks, and a power cord that can be pulled.

    with Guest(image(), folder) as guest:
        guest.attach("data", FileDisk(path))                  # /dev/disk/by-id/virtio-data
        guest.run("mount /dev/disk/by-id/virtio-data /mnt")
        guest.power_cut()

QEMU interprets the guest's instructions (TCG): that needs no /dev/kvm and makes the guest about 16 times slower than
this machine. It boots in about a minute; so it is booted once, and its memory and disk are kept beside the image. Each
guest then starts from there in a few seconds, with nothing but its root disk. What is attached later is in no such
copy: the guest's kernel sees it for the first time, as after a boot. What the guest cannot know anew is its boot id.

Nothing outside can be reached from within, and in only through ssh on a loopback port. QEMU ends with the
thread that started it.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from tests.guest.disk import Disk
from tests.guest.image import ADDRESS, Image, locked
from tests.guest.qmp import Qmp
from tests.guest.tools import GuestError, program, run

_START_S = 120.0  # from kept memory; seconds on an idle machine
_BOOT_S = 600.0
_SSH_S = 20.0
_MACHINE = (
    *("-nodefaults", "-no-user-config", "-display", "none"),
    *("-machine", "pc", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024"),
    *("-device", "virtio-blk-pci,drive=root", "-device", "virtio-net-pci,netdev=net"),
    *("-object", "rng-random,id=random,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=random"),
    *("-device", "virtio-serial-pci", "-device", "virtserialport,chardev=report,name=report"),
    *("-append", "root=/dev/vda rw console=ttyS0 quiet"),
)


class Guest:
    """`with` starts it, and ends it by SIGKILL of QEMU's process. folder: new, for its logs and its overlay.

    A line that the guest writes to /dev/virtio-ports/report is in the file `report` when the write returns, and
    stays there whatever happens to the guest.
    """

    def __init__(self, image: Image, folder: Path, *, boot: bool = False) -> None:
        """boot: from power-on, not from the memory kept beside the image."""
        self.folder = folder
        self.report = folder / "report"
        self._image = image
        self._boot = boot
        self._process: subprocess.Popen[bytes] | None = None
        self._qmp: Qmp | None = None
        self._ssh_port = 0

    def __enter__(self) -> Guest:
        self.folder.mkdir(parents=True)
        try:
            if self._boot:
                self._start(self._image.root, "raw", [])
                self._wait_for_ssh(_BOOT_S)
            else:
                kept = _kept(self._image)
                self._start(
                    kept / "root.qcow2", "qcow2", ["-incoming", f"exec:cat {shlex.quote(str(kept / 'memory'))}"]
                )
                self._resume()
                self._wait_for_ssh(_START_S)
        except BaseException:
            self.power_cut()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.power_cut()

    # ---- the outside: power and plugs --------------------------------------------------------------------------------

    @property
    def qmp(self) -> Qmp:
        if self._qmp is None:
            raise GuestError(f"{self.folder}: this guest does not run")
        return self._qmp

    def attach(self, name: str, disk: Disk, *, timeout_s: float = 60.0) -> None:
        """Plug a disk in. Returns when the guest has it as /dev/disk/by-id/virtio-<name>."""
        self.plug(name, disk)
        path = f"/dev/disk/by-id/virtio-{name}"
        self.run(f"until [ -e {path} ]; do sleep 0.1; done", timeout_s=timeout_s)

    def plug(self, name: str, disk: Disk) -> None:
        """As attach, for those who wait themselves until the guest has seen it."""
        self.qmp.execute("blockdev-add", **{"node-name": name, **disk.node})
        self.qmp.execute("device_add", driver="virtio-blk-pci", id=f"disk-{name}", drive=name, serial=name)

    def power_cut(self) -> None:
        """QEMU is killed: the guest's memory is gone in the middle of whatever it did. Harmless when it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._qmp is not None:
            self._qmp.close()
            self._qmp = None

    # ---- the inside --------------------------------------------------------------------------------------------------

    def ssh(self, command: str) -> list[str]:
        """What to run here so that a command runs in the guest, as root."""
        options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
        options += [f"ConnectTimeout={_SSH_S:.0f}", "ServerAliveInterval=15", "ServerAliveCountMax=8"]
        words = [word for option in options for word in ("-o", option)]
        key = ["-F", "none", "-i", str(self._image.ssh_key), "-p", str(self._ssh_port)]
        return [program("ssh"), *key, *words, "root@127.0.0.1", command]

    def run(self, command: str, *, timeout_s: float = 60.0) -> str:
        """Run a shell command as root and return its output. Raises GuestError if it fails or takes too long."""
        return run(self.ssh(command), timeout_s=timeout_s)

    def spawn(self, command: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a shell command that may outlast everything; it ends with exit code 255 when the guest does."""
        return subprocess.Popen(self.ssh(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def copy_in(self, source: Path, folder: str, *, timeout_s: float = 300.0) -> None:
        """A file or folder from here into a folder of the guest's."""
        pack = ["tar", "-C", str(source.parent), "-c", source.name]
        self._pipe(pack, self.ssh(f"mkdir -p {shlex.quote(folder)} && tar -C {shlex.quote(folder)} -x"), timeout_s)

    def copy_out(self, source: str, folder: Path, *, timeout_s: float = 300.0) -> None:
        """A file or folder of the guest's into a folder here."""
        path = Path(source)
        pack = self.ssh(f"tar -C {shlex.quote(str(path.parent))} -c {shlex.quote(path.name)}")
        self._pipe(pack, ["tar", "-C", str(folder), "-x", "--no-same-owner"], timeout_s)

    def log(self) -> str:
        """The end of what QEMU and the guest's kernel said."""
        files = [self.folder / name for name in ("qemu.log", "console.log")]
        return "\n".join(file.read_text(errors="replace")[-2000:] for file in files if file.exists())

    # ---- starting ----------------------------------------------------------------------------------------------------

    def _start(self, backing: Path, form: str, more: list[str]) -> None:
        overlay = self.folder / "root.qcow2"
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", form, "-b", str(backing), str(overlay)], timeout_s=60)
        self.report.touch()
        command = [
            # QEMU dies with us, even if we are killed; setpriv becomes QEMU, so the pid is QEMU's.
            *(program("setpriv"), "--pdeathsig", "KILL", program("qemu-system-x86_64")),
            *("-kernel", str(self._image.kernel), "-initrd", str(self._image.initrd), *_MACHINE),
            # What is written to the overlay need not be on this machine's disk: nobody reads it after the guest.
            *("-drive", f"if=none,id=root,format=qcow2,cache=unsafe,file={overlay}"),
            # restrict: no packet of the guest's leaves. The port is chosen below.
            *("-netdev", "user,id=net,restrict=on"),
            *("-chardev", f"file,id=report,path={self.report}"),
            *("-serial", f"file:{self.folder / 'console.log'}"),
            *("-qmp", f"unix:{self.folder / 'qmp'},server=on,wait=off"),
            *more,
        ]
        with (self.folder / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._qmp = Qmp(self.folder / "qmp", timeout_s=_START_S)
        # Port 0: the kernel picks one that is free, and no other program can take it in between.
        monitor = {"command-line": f"hostfwd_add net tcp:127.0.0.1:0-{ADDRESS}:22"}
        if refused := self._qmp.execute("human-monitor-command", **monitor):
            raise GuestError(f"QEMU: {refused}")
        forwarded = self._qmp.execute("human-monitor-command", **{"command-line": "info usernet"})
        found = re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s", forwarded)
        if found is None:
            raise GuestError(f"QEMU does not say which port leads to the guest:\n{forwarded}")
        self._ssh_port = int(found[1])

    def _resume(self) -> None:
        """Once the kept memory has been read, let it run on."""
        deadline_s = time.monotonic() + _START_S
        while self.qmp.execute("query-status")["status"] == "inmigrate":
            self._give_up_after(deadline_s, "reading the memory that was kept")
            time.sleep(0.05)
        self.qmp.execute("cont")

    def _wait_for_ssh(self, timeout_s: float) -> None:
        """... and set its clock, which stood still while the guest did."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                self.run(f"date -s @{time.time():.0f}", timeout_s=_SSH_S)
                return
            except GuestError as exc:
                self._give_up_after(deadline_s, f"ssh: {exc}")
                time.sleep(0.2)

    def _give_up_after(self, deadline_s: float, what: str) -> None:
        if self._process is None or self._process.poll() is not None or time.monotonic() > deadline_s:
            raise GuestError(f"the guest did not start: {what}\n{self.log()}")

    def keep(self, folder: Path) -> None:
        """Write memory and root disk to a folder, from which guests can start. Ends this one."""
        self.qmp.execute("stop")
        self.qmp.execute("migrate-set-parameters", **{"max-bandwidth": 1 << 34})
        self.qmp.execute("migrate", uri=f"exec:cat >{shlex.quote(str(folder / 'memory'))}")
        deadline_s = time.monotonic() + _START_S
        while (status := self.qmp.execute("query-migrate")["status"]) != "completed":
            if status in ("failed", "cancelled") or time.monotonic() > deadline_s:
                raise GuestError(f"QEMU could not write down the guest's memory: {status}\n{self.log()}")
            time.sleep(0.1)
        self.qmp.execute("quit")
        if self._process is not None:
            self._process.wait(_START_S)
        shutil.move(self.folder / "root.qcow2", folder / "root.qcow2")
        # A relative name, so that the cache may be moved.
        backing = ["-F", "raw", "-b", f"../{self._image.root.name}"]
        run(["qemu-img", "rebase", "-u", *backing, str(folder / "root.qcow2")], timeout_s=60)

    def _pipe(self, source: list[str], sink: list[str], timeout_s: float) -> None:
        with subprocess.Popen(source, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as sender:
            try:
                done = subprocess.run(sink, stdin=sender.stdout, capture_output=True, timeout=timeout_s, check=False)
                code = sender.wait(timeout_s)
            except subprocess.TimeoutExpired as exc:
                raise GuestError(f"copying: not done in {timeout_s:g} s") from exc
            finally:
                sender.kill()
        if code or done.returncode:
            raise GuestError(
                f"copying: exit codes {code} and {done.returncode}: {done.stderr.decode(errors='replace')}"
            )


def _kept(image: Image) -> Path:
    """The folder with memory and disk of a guest that has booted; made now if this QEMU has none."""
    version = run(["qemu-system-x86_64", "--version"], timeout_s=30)
    key = hashlib.sha256(f"{version} {_MACHINE}".encode()).hexdigest()[:16]
    folder = image.folder / f"booted-{key}"
    with locked(image.folder / f"booted-{key}.lock"):
        if folder.exists():
            return folder
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        print("booting the guest for the first time: a minute or two, once", flush=True)
        with Guest(image, part, boot=True) as guest:
            # Also what makes Python quick to start later: its files stay in the memory that is kept.
            guest.run("systemctl is-system-running --wait || true; python3 -c 'import sqlite3, json, ctypes'; sync")
            kept = part / "kept"
            kept.mkdir()
            guest.keep(kept)
        kept.rename(folder)
        shutil.rmtree(part)
    return folder
