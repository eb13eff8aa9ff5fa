"""A city in a folder: the authority of provisioning/ca with its EST server, and mosquitto as provisioning/broker sets
it up, both on loopback."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.identity import EstServer, Identity, Trust
from agent.identity.certificate import Pair, make_request, new_key, pem
from agent.tls import IdentityFolder
from agent.uplink import Broker, Tls
from provisioning.ca.authority import Authority, create
from provisioning.ca.server import EstService
from tests.support.mosquitto import Mosquitto

TEMPLATES = Path(__file__).resolve().parents[2] / "provisioning" / "broker"


def utc_now() -> datetime:
    return datetime.now(UTC)


class City:
    """ago: how far back the authority believes to be when it signs; set it to make certificates that are old."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ago = timedelta()
        self.authority: Authority = create(folder / "ca", "Test city", b"correct horse battery", now=utc_now())
        self.ca = folder / "ca" / "ca.pem"
        self.server_url = ""

    def now(self) -> datetime:
        return utc_now() - self.ago

    @contextmanager
    def serving(self, *names: str) -> Iterator[EstService]:
        """The EST server, on a free port; server_url is where."""
        service = EstService(self.authority, ("127.0.0.1", 0), names or ("localhost",), now=self.now)
        thread = threading.Thread(target=service.serve_forever, args=(0.02,))
        thread.start()
        try:
            self.server_url = f"https://localhost:{service.server_address[1]}"
            yield service
        finally:
            service.shutdown()
            thread.join()
            service.server_close()

    def box(self, name: str) -> Identity:
        """Not enrolled."""
        return Identity(self.folder / "boxes" / name.replace("/", "_"), name)

    def enrolled(self, name: str) -> Identity:
        """By way of the server."""
        box = self.box(name)
        token = self.authority.new_token(name, hours=1, now=self.now())
        box.enrol(EstServer(self.server_url), user=name, token=token, trust=Trust(ca=self.ca.read_bytes()))
        return box

    def signed(self, name: str) -> Identity:
        """By hand; without the server."""
        box = self.box(name)
        certificate = self.authority.sign(box.request(), name, now=self.now())
        box.take(pem([certificate, self.authority.issuing]), Trust(ca=self.ca.read_bytes()))
        return box

    def signed_long_ago(self, name: str) -> IdentityFolder:
        """What a box has that missed its renewal; it would not take a certificate that is over."""
        key = new_key()
        certificate = self.authority.sign(make_request(key, name), name, now=self.now())
        return self.save(Pair(key, (certificate, self.authority.issuing)), f"{name.replace('/', '_')}-old")

    def broker(self) -> CityBroker:
        pair = self.authority.server(["localhost", "127.0.0.1"], now=utc_now())
        return CityBroker(self.folder / "broker", self, pair)

    def ioc(self, at: CityBroker) -> Broker:
        """The broker as the centre reaches it, with a certificate of the name client:ioc."""
        return at.seen_by(self.save(self.authority.client("ioc", now=utc_now()), "ioc"))

    def save(self, pair: Pair, name: str) -> IdentityFolder:
        """A pair that is not a box's own, where a box would have it."""
        folder = IdentityFolder(self.folder / "pairs" / name)
        folder.path.mkdir(parents=True)
        folder.pair.write_bytes(pair.pem())
        folder.ca.write_bytes(self.ca.read_bytes())
        return folder


class CityBroker(Mosquitto):
    """The shipped configuration, word for word but for its port and its folder."""

    def __init__(self, folder: Path, city: City, pair: Pair) -> None:
        super().__init__(folder)
        self._city = city
        self.show(pair)
        (folder / "ca.pem").write_bytes(city.ca.read_bytes())
        (folder / "acl").write_bytes((TEMPLATES / "acl").read_bytes())
        shipped = (TEMPLATES / "mosquitto.conf").read_text(encoding="utf-8")
        for was, here in (
            ("listener 8883\n", f"listener {self.port} 127.0.0.1\n"),
            ("/etc/mosquitto/gateway/", f"{folder}/"),
        ):
            assert was in shipped
            shipped = shipped.replace(was, here)
        ours = [
            line
            for line in self._config.read_text().splitlines()
            if line.startswith(("user ", "log_", "persistence_location "))
        ]
        self._config.write_text("\n".join([*ours, shipped]))
        self.take_crl()

    def show(self, pair: Pair) -> None:
        """As its own certificate, from the next start on."""
        (self.folder / "server.key").write_bytes(pair.pem())
        (self.folder / "server.crt").write_bytes(pem(pair.certificates))

    def take_crl(self) -> None:
        (self.folder / "crl.pem").write_bytes((self._city.folder / "ca" / "crl.pem").read_bytes())

    def reload(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def restart(self) -> None:
        self.stop()
        self.start()

    def seen_by(self, identity: IdentityFolder | None, host: str = "localhost") -> Broker:
        """As somebody with this certificate reaches it; None = with none, but trusting the city."""
        return Broker(host, self.port, Tls(identity=identity) if identity else Tls(self._city.ca))
