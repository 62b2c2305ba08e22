"""A time-stamping authority of this machine: ``openssl ts`` behind a small HTTP server."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[tsa_leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[plain_leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
[tsa]
default_tsa = tsa1
[tsa1]
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
certs = ca.pem
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
signer_digest = sha256
ess_cert_id_alg = sha256
"""


def openssl(folder: Path, *words: str) -> None:
    """Run openssl in a folder; on Debian it is the package of that name."""
    ran = subprocess.run(
        ["openssl", *words], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 0, ran.stderr


@dataclass
class Authority:
    """Who stamps: its folder of keys and certificates, and what it does to its answers."""

    folder: Path
    url: str = ""
    status: int = 200
    spoil: Callable[[bytes], bytes] = field(default=lambda answer: answer)
    """What becomes of an answer before it is sent."""
    ask: Callable[[bytes], bytes] = field(default=lambda request: request)
    """What becomes of a request before it is answered."""

    @property
    def root(self) -> Path:
        """Its root certificate."""
        return self.folder / "ca.pem"

    def answer(self, request: bytes) -> bytes:
        """Stamp a request."""
        (self.folder / "q.tsq").write_bytes(self.ask(request))
        words = ("-queryfile", "q.tsq", "-out", "r.tsr", "-config", "tsa.cnf")
        openssl(self.folder, "ts", "-reply", *words)
        return self.spoil((self.folder / "r.tsr").read_bytes())


def made(folder: Path, name: str = "Test TSA", extensions: str = "tsa_leaf") -> Authority:
    """Make the keys and certificates of an authority."""
    folder.mkdir(parents=True)
    (folder / "tsa.cnf").write_text(CONFIG.format(name=name))
    (folder / "ca.cnf").write_text(CONFIG.format(name=f"{name} Root"))
    (folder / "serial").write_text("01\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256")
    openssl(
        folder,
        *("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "3650"),
        *("-config", "ca.cnf", "-extensions", "ca"),
    )
    openssl(folder, "req", *curve, "-keyout", "tsa.key", "-out", "tsa.csr", "-config", "tsa.cnf")
    openssl(
        folder,
        *("x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out", "tsa.pem"),
        *("-set_serial", "7", "-days", "3650", "-extfile", "tsa.cnf", "-extensions", extensions),
    )
    return Authority(folder)


@contextmanager
def serving(authority: Authority) -> Iterator[Authority]:
    """Have the authority answer on this machine while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/timestamp-query"
            body = authority.answer(request) if authority.status == 200 else b"no"
            self.send_response(authority.status)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        authority.url = f"http://127.0.0.1:{server.server_port}/tsr"
        try:
            yield authority
        finally:
            server.shutdown()
            thread.join()
