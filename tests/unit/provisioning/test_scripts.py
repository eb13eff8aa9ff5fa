"""provision.sh and make-bundle.sh up to where they would change something: options, refusals, what a dry run says."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from agent.update import units

TOP = Path(__file__).resolve().parents[3]
PROVISIONING = TOP / "provisioning"
SCRIPT = PROVISIONING / "provision.sh"
HANDBOOK = (PROVISIONING / "README.md").read_text(encoding="utf-8")
INSTALL = HANDBOOK[HANDBOOK.index("## Install\n") : HANDBOOK.index("## Configure\n")]

needs_debian = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "aarch64")
    or not re.match(r"debian|raspbian|ubuntu", platform.freedesktop_os_release().get("ID", "")),
    reason="provision.sh serves Debian and its like, on 64-bit processors",
)


class Answer:
    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        self.words = done.stdout + done.stderr

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.words}"


class Shell:
    def __init__(self, folder: Path) -> None:
        self.scratch = folder / "scratch"
        self.scratch.mkdir()

    def run(self, script: Path, *options: str, language: str = "C.UTF-8", user: int | None = None) -> Answer:
        environment = {"PATH": os.environ["PATH"], "LC_ALL": language, "TMPDIR": str(self.scratch)}
        return Answer(
            subprocess.run(
                ["sh", str(script), *options],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                user=user,
            )
        )

    def provision(self, *options: str, language: str = "C.UTF-8") -> Answer:
        return self.run(SCRIPT, *options, language=language)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    assert list(shell.scratch.iterdir()) == [], "it left something behind"


def bundle(folder: Path, *, extra: bool = False, **changed: str) -> Path:
    """A small one, as make-bundle.sh lays it out. extra: with a file that is not in its list."""
    manifest = {
        "format": "1",
        "version": "0.0.7",
        "board": "amd64",
        "machine": platform.machine(),
        "python": "3.11",
        "debian": "none",
        **changed,
    }
    files = {
        "manifest": "".join(f"{name}={value}\n" for name, value in manifest.items()),
        "provision.sh": SCRIPT.read_text(),
        "requirements.txt": "gateway-agent==0.0.7\n",
        "wheels/gateway_agent-0.0.7-py3-none-any.whl": "no wheel, and nobody will see it",
    }
    files["SHA256SUMS"] = "".join(
        f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n" for name, text in files.items()
    )
    if extra:
        files["wheels/stowaway-1.0-py3-none-any.whl"] = "listed nowhere"
    path = folder / "agent.bundle"
    with tarfile.open(path, "w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return path


# ---- the scripts themselves ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", [name for name in ("sh", "dash", "busybox") if shutil.which(name)])
@pytest.mark.parametrize("script", sorted(PROVISIONING.glob("*.sh")), ids=lambda path: path.name)
def test_a_shell_reads_it_without_a_complaint(script: Path, program: str) -> None:
    command = [program, *(["sh"] if program == "busybox" else []), "-n", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def options(script: Path) -> set[str]:
    """Those that it takes: the patterns of its `case`."""
    main = script.read_text(encoding="utf-8").split("\nmain() {")[1]
    patterns = re.findall(r"^ +([-\w |\\\n]+)\)", main, re.MULTILINE)
    return set(re.findall(r"--[a-z0-9-]+", " ".join(patterns)))


@pytest.mark.parametrize("script", ["provision.sh", "make-bundle.sh"])
def test_every_option_is_in_the_help_and_in_the_handbook(script: str, shell: Shell) -> None:
    known = options(PROVISIONING / script)
    assert len(known) > 5
    said = shell.run(PROVISIONING / script, "--help")
    assert said.code == 0
    assert set(re.findall(r"--[a-z0-9-]+", said.words)) >= known
    assert known - {"--help"} - set(re.findall(r"--[a-z0-9-]+", INSTALL)) == set()


def test_the_help_is_in_vietnamese_for_a_vietnamese_terminal_with_the_same_options(shell: Shell) -> None:
    english, vietnamese = (shell.provision("--help", language=lang).words for lang in ("C.UTF-8", "vi_VN.UTF-8"))
    assert "cách dùng" in vietnamese
    assert set(re.findall(r"--[a-z0-9-]+", english)) == set(re.findall(r"--[a-z0-9-]+", vietnamese))


def test_every_sentence_that_is_said_is_said_in_two_languages() -> None:
    text = SCRIPT.read_text(encoding="utf-8").split("# ---- small tools")[1]
    quoted = r'"(?:[^"\\]|\\.)*"'
    speaks = r"\b(?:say|fail|line (?:ok|would|PROBLEM|\"done\")|confirm|do_step)"
    said = re.findall(rf"{speaks} ({quoted})(?: (?:\\\n *)?({quoted}))?", text)
    assert len(said) > 60
    assert [
        english for english, vietnamese in said if not vietnamese and english not in ('"$english"', '"$1 [y/N]"')
    ] == []


def test_an_update_puts_each_file_where_provisioning_does() -> None:
    (function,) = re.findall(
        r"^destination\(\) \{\n.*?^\}\n", SCRIPT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    head = "NAME=gateway-agent\nUNITS=/etc/systemd/system\n"
    names = sorted(path.name for path in (TOP / "systemd").iterdir())
    calls = "".join(f"echo {name}=$(destination {name})\n" for name in names)
    done = subprocess.run(["sh", "-c", head + function + calls], capture_output=True, text=True, check=True)
    theirs = {name: units._destination(name) for name in names}
    assert sum(place is not None for place in theirs.values()) > 10
    assert dict(line.split("=") for line in done.stdout.splitlines()) == {
        name: f"/{place}" if place else "" for name, place in theirs.items()
    }


# ---- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param(["--ofline", "x"], "unknown argument --ofline", id="misspelt"),
        pytest.param(["--offline"], "--offline needs a value", id="no value"),
        pytest.param(["--dry-run", "--config", "/nowhere.toml"], "/nowhere.toml: cannot be read", id="no such file"),
        pytest.param(["--dry-run", "--card", "/nowhere"], "wanted a folder with gateway.toml", id="no card"),
        pytest.param(["--dry-run", "--enrol", "https://ca"], "--enrol needs --token-file", id="no token"),
    ],
)
def test_wrong_usage_is_told_and_is_64(given: list[str], words: str, shell: Shell) -> None:
    said = shell.provision(*given)
    assert (said.code, words in said.words) == (64, True), said


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param([], "which board?", id="no board"),
        pytest.param(["--board", "pi3"], "board pi3 is not known", id="unknown board"),
        pytest.param(["--board", "pi5", "--python", "3.10"], "Python 3.10 is not known", id="old Python"),
        pytest.param(["--board", "pi5", "--debian", "trixie"], "trixie 3.13", id="another Python than Debian's"),
        pytest.param(["--board", "pi5", "--debian", "buster"], "Debian buster is not known", id="old Debian"),
        pytest.param(["--board", "pi5", "--trust", "/nowhere"], "--trust /nowhere: cannot be read", id="no trust"),
    ],
)
def test_a_bundle_for_nothing_is_wrong_usage(given: list[str], words: str, shell: Shell) -> None:
    said = shell.run(PROVISIONING / "make-bundle.sh", *given)
    assert (said.code, words in said.words) == (64, True), said


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming somebody else needs root")
@pytest.mark.parametrize("task", [[], ["--uninstall"], ["--factory-reset"]], ids=["install", "uninstall", "reset"])
def test_without_root_nothing_is_tried(task: list[str], shell: Shell) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        Path(folder).chmod(0o755)
        said = shell.run(Path(shutil.copy(SCRIPT, folder)), *task, user=65534)
    assert (said.code, "needs root" in said.words) == (1, True), said


# ---- bundles ---------------------------------------------------------------------------------------------------------


@needs_debian
def test_a_dry_run_needs_no_root_and_tells_each_step(shell: Shell, tmp_path: Path) -> None:
    said = shell.provision("--dry-run", "--offline", str(bundle(tmp_path)))
    assert said.code == 0, said
    assert "ok       bundle: whole, version 0.0.7 for amd64, Python 3.11" in said.words
    assert "would    release: 0.0.7, in /opt/gateway-agent/releases/0.0.7" in said.words
    assert "would    configuration: /etc/gateway-agent/gateway.toml" in said.words
    assert "step(s) would be taken; nothing was changed" in said.words


@needs_debian
def test_a_dry_run_speaks_vietnamese(shell: Shell, tmp_path: Path) -> None:
    said = shell.provision("--dry-run", "--offline", str(bundle(tmp_path)), language="vi_VN.UTF-8")
    assert "đã có    gói: nguyên vẹn, bản 0.0.7" in said.words
    assert "bước sẽ được thực hiện; chưa thay đổi gì" in said.words


@needs_debian
def test_a_dry_run_of_taking_away_changes_nothing(shell: Shell) -> None:
    said = shell.provision("--dry-run", "--uninstall", "--delete-data")
    assert said.code == 0, said
    assert "not installed" in said.words or "nothing was changed" in said.words


@needs_debian
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        pytest.param({"machine": "armv7l"}, "the bundle is for amd64 (armv7l), this board is", id="another processor"),
        pytest.param({"format": "2"}, "is no bundle of this program", id="a later format"),
        pytest.param({"version": "../../etc"}, "version '../../etc' is none", id="a version that is a path"),
        pytest.param({"version": ""}, "version '' is none", id="no version"),
    ],
)
def test_a_bundle_that_does_not_fit_is_refused(
    changed: dict[str, str], words: str, shell: Shell, tmp_path: Path
) -> None:
    said = shell.provision("--dry-run", "--offline", str(bundle(tmp_path, **changed)))
    assert (said.code, words in said.words) == (1, True), said


@needs_debian
def test_a_bundle_with_one_bit_changed_is_refused(shell: Shell, tmp_path: Path) -> None:
    path = bundle(tmp_path)
    content = bytearray(path.read_bytes())
    content[content.index(b"nobody will see it")] ^= 1
    path.write_bytes(content)
    said = shell.provision("--dry-run", "--offline", str(path))
    assert said.code == 1
    assert "is damaged; copy it again" in said.words
    assert "wheels/gateway_agent-0.0.7-py3-none-any.whl: FAILED" in said.words


@needs_debian
def test_a_bundle_that_was_cut_off_is_refused(shell: Shell, tmp_path: Path) -> None:
    path = bundle(tmp_path)
    path.write_bytes(path.read_bytes()[:-12000])
    said = shell.provision("--dry-run", "--offline", str(path))
    assert (said.code, "copy it again" in said.words) == (1, True), said


@needs_debian
def test_a_file_that_the_bundle_does_not_list_is_refused(shell: Shell, tmp_path: Path) -> None:
    said = shell.provision("--dry-run", "--offline", str(bundle(tmp_path, extra=True)))
    assert (said.code, "copy it again" in said.words) == (1, True), said


@needs_debian
def test_a_bundle_is_held_to_the_sum_that_was_told(shell: Shell, tmp_path: Path) -> None:
    path = bundle(tmp_path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert shell.provision("--dry-run", "--offline", str(path), "--sha256", digest).code == 0
    said = shell.provision("--dry-run", "--offline", str(path), "--sha256", "0" * 64)
    assert (said.code, "do not install it" in said.words) == (1, True), said


@needs_debian
def test_what_is_no_bundle_is_refused(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    said = shell.provision("--dry-run", "--offline", str(tmp_path / "photo.jpg"))
    assert (said.code, "is no bundle of this program" in said.words) == (1, True), said


# ---- what goes into one ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bundle", PROVISIONING / "bundle.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LOCK = (
    "numpy==1.26.4 ; platform_machine == 'armv7l' \\\n    --hash=sha256:aa\n"
    "numpy==2.4.6 ; python_full_version < '3.12' and platform_machine != 'armv7l' \\\n    --hash=sha256:bb\n"
    "numpy==2.5.5 ; python_full_version >= '3.12' and platform_machine != 'armv7l' \\\n    --hash=sha256:cc\n"
    "colorama==0.4.6 ; sys_platform == 'win32' \\\n    --hash=sha256:dd\n"
    "smbus2==0.6.1 \\\n    --hash=sha256:ee \\\n    --hash=sha256:ff\n"
)


@pytest.mark.parametrize(
    ("machine", "python", "numpy"),
    [("aarch64", "3.11", "bb"), ("x86_64", "3.11", "bb"), ("aarch64", "3.13", "cc"), ("armv7l", "3.11", "aa")],
)
def test_of_the_lock_a_bundle_takes_what_holds_on_the_board(
    tool: ModuleType, machine: str, python: str, numpy: str
) -> None:
    kept = tool.requirements(LOCK, machine, python)
    assert re.findall(r"^(\S+) ", kept, re.MULTILINE)[-1] == "smbus2==0.6.1"
    assert re.findall(r"sha256:(..)", kept) == [numpy, "ee", "ff"]
    assert ";" not in kept


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-gpio.lock"])
@pytest.mark.parametrize(("machine", "python"), [("aarch64", "3.11"), ("aarch64", "3.13"), ("x86_64", "3.12")])
def test_every_package_of_the_lock_is_in_it_once_and_with_its_hashes(
    tool: ModuleType, lock: str, machine: str, python: str
) -> None:
    kept = tool.requirements((PROVISIONING / lock).read_text(), machine, python)
    blocks = re.split(r"\n(?=\S)", kept.strip())
    names = [block.split("==")[0] for block in blocks]
    assert {"numpy", "opencv-python-headless", "cryptography", "ai-edge-litert"} <= set(names)
    assert len(names) == len(set(names))
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_same_pip_is_locked_that_a_bundle_brings() -> None:
    assert re.findall(r"^([a-z-]+)==", (PROVISIONING / "requirements-bundle.lock").read_text(), re.MULTILINE) == [
        "pip",
        "setuptools",
    ]


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb")
def test_apt_is_told_name_place_and_hash_of_each_archive(tool: ModuleType, tmp_path: Path) -> None:
    control = tmp_path / "one" / "DEBIAN" / "control"
    control.parent.mkdir(parents=True)
    control.parent.chmod(0o755)
    control.write_text(
        "Package: one\nVersion: 1:2.0\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: one\n more of it\n"
    )
    archive = tmp_path / "one_2.0_all.deb"
    subprocess.run(["dpkg-deb", "--build", str(tmp_path / "one"), str(archive)], check=True, capture_output=True)
    (paragraph,) = tool.packages(tmp_path)
    assert paragraph.startswith("Package: one\nVersion: 1:2.0\n")
    assert "\n more of it\nFilename: ./one_2.0_all.deb\n" in paragraph
    assert f"SHA256: {hashlib.sha256(archive.read_bytes()).hexdigest()}\n" in paragraph


def test_the_tool_refuses_what_it_does_not_know() -> None:
    done = subprocess.run(
        [sys.executable, str(PROVISIONING / "bundle.py"), "wheels"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "unknown arguments" in done.stderr) == (64, True)
