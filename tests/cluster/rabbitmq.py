"""Real RabbitMQ nodes that are one cluster, on loopback: start, kill one, bring it back, stop all.

Each node runs in the trixie root with a folder of its own mounted over /var/lib/rabbitmq and /etc/rabbitmq, in a mount
namespace that goes with it. The network is this machine's loopback, on free ports; so is Erlang's port mapper.
The configuration is the one for a province, provisioning/broker/rabbitmq, with other ports, and paths, in it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.cluster.root import prepared
from tests.guest.tools import GuestError, run
from tests.support.mosquitto import free_port

SHIPPED = Path(__file__).resolve().parents[2] / "provisioning" / "broker" / "rabbitmq"
QUEUE = "gateway"
_UP_S = 120.0
_STOP_S = 60.0
_SBIN = "/usr/lib/rabbitmq/bin"
_ANONYMOUS = ("boxes", "boxes")
_ABOUT_TLS = (
    "ssl_options",
    "listeners",
    "mqtt.listeners",
    "mqtt.ssl_cert_login",
    "mqtt.allow_anonymous",
    "ssl_cert_login",
)
_ELSEWHERE = ("cluster_formation", "disk_free_limit", "quorum_queue.continuous_membership_reconciliation.interval")
_PLAIN = """
mqtt.listeners.tcp.1 = 127.0.0.1:{port}
mqtt.allow_anonymous = true
anonymous_login_user = boxes
anonymous_login_pass = boxes
"""


@dataclass
class Node:
    """One broker. mqtt_port, mqtts_port, amqp_port: where it is on 127.0.0.1."""

    name: str
    folder: Path
    mqtt_port: int
    mqtts_port: int
    amqp_port: int
    amqps_port: int
    dist_port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def at(self) -> str:
        return f"127.0.0.1:{self.mqtt_port}"

    def beam_pid(self) -> int:
        """Of Erlang's virtual machine, which is the broker. Raises GuestError."""
        assert self.process is not None
        pids = [self.process.pid]
        while pids:
            pid = pids.pop()
            try:
                if Path(f"/proc/{pid}/comm").read_text().strip() == "beam.smp":
                    return pid
                pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            except FileNotFoundError:
                continue
        raise GuestError(f"{self.name}: no beam.smp below process {self.process.pid}")

    def log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted((self.folder / "log").glob("*.log")))


class Cluster:
    """folder: where the nodes keep everything; gone with the cluster's end unless keep.

    conf: further lines for each node's rabbitmq.conf. tls: a folder with ca.pem, server.crt and server.key, for the
    listener with certificates. As a context manager: up inside, and stopped at the end.
    """

    def __init__(
        self, folder: Path, *, nodes: int = 3, conf: Sequence[str] = (), tls: Path | None = None, keep: bool = False
    ) -> None:
        self._root = prepared()
        self._folder = folder
        self._keep = keep
        self._epmd_port = free_port()
        self._cookie = secrets.token_hex(16)
        self._tls = tls
        self.user, self.password = "ingest", secrets.token_hex(8)
        self.nodes = [
            Node(f"gw{n}@localhost", folder / f"gw{n}", *(free_port() for _ in range(5))) for n in range(1, nodes + 1)
        ]
        for node in self.nodes:
            self._prepare(node, conf)

    def start(self) -> Cluster:
        """One after another, as RabbitMQ wants it: the first makes the cluster, the others join. Raises GuestError.

        By rabbitmqctl and not by peer discovery: that starts a node of its own on a name of this machine, which need
        not lead to it.
        """
        first, *others = self.nodes
        self.start_node(first)
        for node in others:
            self.start_node(node)
            for words in (["stop_app"], ["reset"], ["join_cluster", first.name], ["start_app"]):
                self.ctl(node, *words)
        self.ctl(first, "await_online_nodes", str(len(self.nodes)))
        self._wait_for_members()
        self._add_user(self.user, self.password)
        if self._tls is None:
            self._add_user(*_ANONYMOUS)
        return self

    def _wait_for_members(self) -> None:
        """Until the queue has a copy on each node. Raises GuestError."""
        deadline_s = time.monotonic() + _UP_S
        while True:
            rows = self.ctl(self.nodes[0], "list_queues", "--no-table-headers", "name", "members").splitlines()
            members = next((row for row in rows if row.startswith(f"{QUEUE}\t")), "")
            if all(node.name in members for node in self.nodes):
                return
            if time.monotonic() > deadline_s:
                raise GuestError(f"the queue {QUEUE} has not come to all nodes: {members or 'it is not there'}")
            time.sleep(1.0)

    def _add_user(self, user: str, password: str) -> None:
        """Who may do everything: the ingester, and where there are no certificates the boxes."""
        self.ctl(self.nodes[0], "add_user", user, password)
        self.ctl(self.nodes[0], "set_permissions", "-p", "/", user, ".*", ".*", ".*")

    def start_node(self, node: Node) -> None:
        """And wait until it is a member that takes connections. Raises GuestError."""
        node.process = self._spawn(node, f"{_SBIN}/rabbitmq-server")
        deadline_s = time.monotonic() + _UP_S
        while True:
            if node.process.poll() is not None or time.monotonic() > deadline_s:
                self.kill_node(node)
                raise GuestError(f"{node.name} did not start:\n{node.log()[-3000:]}{self._output(node)[-2000:]}")
            if "Server startup complete" in node.log():
                return
            time.sleep(0.2)

    def kill_node(self, node: Node) -> None:
        """SIGKILL, by the pid of its virtual machine: no goodbye to clients, nothing written on the way out."""
        if node.process is None:
            return
        try:
            os.kill(node.beam_pid(), signal.SIGKILL)
        except GuestError:
            os.killpg(node.process.pid, signal.SIGKILL)  # it has not come as far as that
        try:
            node.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(node.process.pid, signal.SIGKILL)
            node.process.wait(_STOP_S)
        node.process = None
        for path in (node.folder / "log").glob("*.log"):
            path.rename(path.with_suffix(f".{time.time_ns()}"))  # the next start's begins anew

    def stop(self) -> None:
        for node in reversed(self.nodes):
            self.kill_node(node)
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait(_STOP_S)
            self._epmd = None
        if not self._keep:
            shutil.rmtree(self._folder, ignore_errors=True)

    def ctl(self, node: Node, *words: str) -> str:
        """rabbitmqctl on that node. Returns what it printed. Raises GuestError."""
        return run(self._inside(node, f"{_SBIN}/rabbitmqctl", "--quiet", *words), timeout_s=90.0)

    def amqp(self) -> str:
        """Where an ingester connects to; its password is told apart."""
        return f"amqp://{self.user}@{','.join(f'127.0.0.1:{node.amqp_port}' for node in self.nodes)}"

    def waiting(self) -> int:
        """Messages in the quorum queue, by the first node that runs."""
        node = next(node for node in self.nodes if node.process is not None)
        rows = self.ctl(node, "list_queues", "--no-table-headers", "--timeout", "60", "name", "messages").splitlines()
        return sum(int(row.split()[1]) for row in rows if row.split()[0] == QUEUE)

    def cpu_s(self) -> dict[str, float]:
        """Processor time of each running node so far."""
        return {node.name: _cpu_s(node.beam_pid()) for node in self.nodes if node.process is not None}

    def __enter__(self) -> Cluster:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    _epmd: subprocess.Popen[bytes] | None = None

    def _prepare(self, node: Node, conf: Sequence[str]) -> None:
        etc, var, log = node.folder / "etc", node.folder / "var", node.folder / "log"
        for folder in (etc, var, log):
            folder.mkdir(parents=True)
        text = (SHIPPED / "rabbitmq.conf").read_text(encoding="utf-8")
        if self._tls is None:
            text = _without(text, *_ABOUT_TLS) + _PLAIN.format(port=node.mqtt_port)
        else:
            text = _without(text, "listeners.tcp")
            text = text.replace("mqtt.listeners.ssl.1 = 8883", f"mqtt.listeners.ssl.1 = 127.0.0.1:{node.mqtts_port}")
            text = text.replace("listeners.ssl.1 = 5671", f"listeners.ssl.1 = 127.0.0.1:{node.amqps_port}")
        text = _without(text, *_ELSEWHERE)
        # Plain AMQP beside it, for ingesters on this machine.
        more = [
            f"listeners.tcp.1 = 127.0.0.1:{node.amqp_port}",
            "auth_mechanisms.2 = PLAIN",
            "quorum_queue.continuous_membership_reconciliation.interval = 5000",
            "disk_free_limit.absolute = 1GB",
        ]
        text = "\n".join([text, *more, *conf]) + "\n"
        (etc / "rabbitmq.conf").write_text(text, encoding="utf-8")
        for name in ("enabled_plugins", "definitions.json"):
            shutil.copy(SHIPPED / name, etc / name)
        if self._tls is not None:
            shutil.copytree(self._tls, etc / "gateway")
        cookie = var / ".erlang.cookie"
        cookie.write_text(self._cookie)
        cookie.chmod(0o400)
        for path in (node.folder, *node.folder.rglob("*")):
            shutil.chown(path, *self._owner())

    def _owner(self) -> tuple[int, int]:
        line = next(
            line for line in (self._root / "etc/passwd").read_text().splitlines() if line.startswith("rabbitmq:")
        )
        _, _, uid, gid, *_ = line.split(":")
        return int(uid), int(gid)

    def _spawn(self, node: Node, program: str) -> subprocess.Popen[bytes]:
        if self._epmd is None:
            # The port mapper is nobody's child: started by the first node, it would live on in that node's place.
            self._epmd = subprocess.Popen(
                self._inside(node, "/usr/bin/epmd"), stdin=subprocess.DEVNULL, start_new_session=True
            )
        with (node.folder / "output").open("ab") as output:
            return subprocess.Popen(
                self._inside(node, program),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _output(self, node: Node) -> str:
        return (node.folder / "output").read_text(errors="replace")

    def _inside(self, node: Node, *words: str) -> list[str]:
        """A command in the root, as the user of the broker, with the node's folders where it looks for them."""
        root = self._root
        mounts = [
            f"mount --rbind /dev {root}/dev",
            f"mount --rbind /proc {root}/proc",
            f"mount --rbind /sys {root}/sys",
            f"mount -t tmpfs tmp {root}/tmp",
            f"mount --bind {node.folder}/var {root}/var/lib/rabbitmq",
            f"mount --bind {node.folder}/log {root}/var/log/rabbitmq",
            f"mount --bind {node.folder}/etc {root}/etc/rabbitmq",
        ]
        uid, gid = self._owner()
        settings = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/var/lib/rabbitmq",
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": node.name,
            "RABBITMQ_DIST_PORT": str(node.dist_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none",
        }
        enter = f'{" && ".join(mounts)} && exec chroot --userspec={uid}:{gid} {root} env -i "$@"'
        return ["unshare", "--mount", "sh", "-c", enter, "sh", *(f"{k}={v}" for k, v in settings.items()), *words]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _without(text: str, *starts: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith(starts))
