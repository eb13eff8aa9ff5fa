"""A Debian booted in systemd-nspawn, with the agent installed as on a box: release, units, user, configuration.

Its files are an overlay over the root that `tests.systemd.root` keeps; its network is this machine's, so that a broker
on loopback is in reach. Memory bounds and device rules are not enforced in there: those need a machine of one's own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from tests.guest.tools import GuestError, program, run
from tests.systemd.root import RELEASE, TOP, prepared

_PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
_BOOT_S = 60.0
_STATE = "var/lib/gateway-agent"


class Machine:
    """folder: for its files. read_only: the root cannot be written, and the state is a folder of its own."""

    nspawn: tuple[str, ...] = ()  # further options
    lowest = staticmethod(prepared)

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.folder = folder
        self.root = folder / "root"
        self._read_only = read_only
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._systemd_pid = 0

    # ---- before it boots -------------------------------------------------------------------------------------------

    def make(self) -> None:
        """Its root, with the agent of this tree installed from a wheel."""
        for name in ("upper", "work", "root", "wheel", "state"):
            (self.folder / name).mkdir(parents=True)
        layers = f"lowerdir={self.lowest()},upperdir={self.folder / 'upper'},workdir={self.folder / 'work'}"
        run(["mount", "-t", "overlay", "overlay", "-o", layers, str(self.root)], timeout_s=60)
        self._install()

    def _install(self) -> None:
        source = self.folder / "source"  # building writes beside the sources
        names = ("agent", "drivers", "models", "systemd", "pyproject.toml", "README.md", "LICENSE")
        for name in names:
            copy = shutil.copytree if (TOP / name).is_dir() else shutil.copy2
            (self.folder / "source").mkdir(exist_ok=True)
            copy(TOP / name, source / name)  # type: ignore[operator]
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        options = ["--no-deps", "--no-build-isolation", f"--wheel-dir={self.folder / 'wheel'}"]
        run([*pip, "wheel", *options, str(source)], timeout_s=300)
        (wheel,) = (self.folder / "wheel").glob("*.whl")
        shutil.copy2(wheel, self.root / "root" / wheel.name)
        self._chroot(f"{RELEASE}/bin/pip", "install", "--quiet", "--no-index", "--no-deps", f"/root/{wheel.name}")
        for link in ("current", "proven"):
            (self.root / "opt/gateway-agent" / link).symlink_to(RELEASE)
        units = self.root / RELEASE.lstrip("/") / "share/gateway-agent/systemd"
        for unit in [*units.glob("*.service"), *units.glob("*.timer")]:
            shutil.copy2(unit, self.root / "etc/systemd/system" / unit.name)
        for name, place in {
            "sysusers.conf": "usr/lib/sysusers.d/gateway-agent.conf",
            "journald.conf": "etc/systemd/journald.conf.d/gateway-agent.conf",
            "system.conf": "etc/systemd/system.conf.d/gateway-agent.conf",
            "udev.rules": "etc/udev/rules.d/60-gateway-agent.rules",
        }.items():
            (self.root / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(units / name, self.root / place)
        self._chroot("systemd-sysusers", "gateway-agent.conf")
        timers = sorted(unit.name for unit in units.glob("*.timer"))
        self._chroot("systemctl", "enable", "--quiet", "gateway-agent.service", *timers)

    def _chroot(self, *command: str) -> None:
        run(["chroot", str(self.root), "env", "-i", _PATH, "LC_ALL=C.UTF-8", *command], timeout_s=300)

    def configure(self, text: str) -> bool:
        """Its gateway.toml, readable for the service and nobody else. Whether it was another one before."""
        path = self.root / "etc/gateway-agent/gateway.toml"
        path.parent.mkdir(exist_ok=True)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return False
        part = path.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        os.chown(part, 0, self._group())
        part.chmod(0o640)
        part.rename(path)
        return True

    def drop_in(self, name: str, text: str) -> None:
        path = self.root / "etc/systemd/system/gateway-agent.service.d" / f"{name}.conf"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if self._systemd_pid:
            self.run("systemctl", "daemon-reload")

    def remove_drop_in(self, name: str) -> None:
        (self.root / "etc/systemd/system/gateway-agent.service.d" / f"{name}.conf").unlink()
        self.run("systemctl", "daemon-reload")

    def _group(self) -> int:
        lines = (self.root / "etc/group").read_text().splitlines()
        return next(int(line.split(":")[2]) for line in lines if line.startswith("gateway-agent:"))

    # ---- while it runs ---------------------------------------------------------------------------------------------

    def boot(self) -> None:
        options = ["--quiet", "--boot", f"--directory={self.root}", "--register=no", "--keep-unit", "--console=pipe"]
        options += self.nspawn
        if self._read_only:
            (self.root / _STATE).mkdir()
            options += ["--read-only", "--tmpfs=/var/tmp", f"--bind={self.folder / 'state'}:/{_STATE}"]
        with (self.folder / "console").open("ab") as console:
            self._nspawn = subprocess.Popen(
                [program("systemd-nspawn"), *options], stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        deadline_s = time.monotonic() + _BOOT_S
        while not self._is_up():
            if time.monotonic() > deadline_s or self._nspawn.poll() is not None:
                words = (self.folder / "console").read_text(errors="replace")[-2000:]
                raise GuestError(f"the Debian in {self.root} did not boot in {_BOOT_S:g} s:\n{words}")
            time.sleep(0.1)

    def _is_up(self) -> bool:
        assert self._nspawn is not None
        pid = self._nspawn.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return False
        if not children:
            return False
        self._systemd_pid = int(children[0])
        state = self.ask("systemctl", "is-system-running").stdout.strip()
        return state in ("running", "degraded")

    def ask(self, *command: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a program in there; whatever comes of it."""
        enter = [program("nsenter"), f"--target={self._systemd_pid}", "--mount", "--uts", "--ipc", "--pid", "--net"]
        return subprocess.run(
            [*enter, "--", "env", "-i", _PATH, "LC_ALL=C.UTF-8", *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )

    def run(self, *command: str, timeout_s: float = 120.0) -> str:
        """The same, and what it printed. Raises GuestError if it fails."""
        done = self.ask(*command, timeout_s=timeout_s)
        if done.returncode != 0:
            words = f"{done.stdout}{done.stderr}\n{self.journal()[-3000:]}"
            raise GuestError(f"{' '.join(command)}: exit code {done.returncode}\n{words}")
        return done.stdout

    def show(self, name: str, unit: str = "gateway-agent.service") -> str:
        """A property, as `systemctl show` has it."""
        return self.run("systemctl", "show", f"--property={name}", "--value", unit).strip()

    def journal(self, *options: str) -> str:
        """What the agent's unit and systemd about it have written."""
        return self.ask("journalctl", "--no-pager", "--unit=gateway-agent.service", *options).stdout

    def close(self) -> None:
        """Switch it off and take its root apart. May be called twice."""
        if self._nspawn is not None:
            self._nspawn.send_signal(signal.SIGTERM)  # a clean shutdown
            try:
                self._nspawn.wait(30)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait()
            self._nspawn = None
        if os.path.ismount(self.root):
            run(["umount", str(self.root)], timeout_s=60)

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def camera_and_broker(*, source: str, broker_port: int, more: str = "") -> str:
    """A gateway.toml of one camera with a line, and a broker on loopback. more: lines of the camera's."""
    return (
        '[box]\nsite = "test"\nid = "gw"\n[health]\ninterval_s = 1\n'
        f'[[broker]]\ntls = false\nhost = "127.0.0.1"\nport = {broker_port}\n'
        f'[[camera]]\nid = "cam"\nsource = "{source}"\nstall_timeout_s = 1\n{more}\n'
        '[[camera.line]]\nid = "mid"\na = [0.5, 1.0]\nb = [0.5, 0.2]\n'
    )
