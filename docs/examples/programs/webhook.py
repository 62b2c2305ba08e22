"""A receiver of webhooks: webhook.py PORT SECRET_FILE [COUNT]

Prints the events whose signature is good, and ends after COUNT of them. The signature is that of
Standard Webhooks 1.0.0: HMAC-SHA256 over the id, the time and the body.
"""

import base64
import hashlib
import hmac
import http.server
import json
import sys
import time
from email.message import Message
from pathlib import Path

AGE_SECONDS_MAX = 300


def is_genuine(headers: Message, body: bytes, secret: bytes, now: float) -> bool:
    """Whether who knows the secret sent exactly this, and lately."""
    number, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not sent.isdecimal() or abs(now - int(sent)) > AGE_SECONDS_MAX:
        return False
    signed = f"{number}.{sent}.".encode() + body
    right = b"v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256))
    given = headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(each, right) for each in given)


class Receiver(http.server.BaseHTTPRequestHandler):
    """Answers 204 to what is genuine: what gets another answer is sent again later."""

    secret = b""
    seen: set[str] = set()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        genuine = is_genuine(self.headers, body, self.secret, time.time())
        # An event comes at least once: its id tells whether it was there before.
        if genuine and self.headers["webhook-id"] not in self.seen:
            self.seen.add(self.headers["webhook-id"])
            event = json.loads(body)["data"]
            print(event["type"], event["text"], flush=True)
        self.send_response(204 if genuine else 401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


def main(port: int, secret_file: Path, count: int) -> None:
    """Receive."""
    secret = secret_file.read_text("ascii").strip().removeprefix("whsec_")
    Receiver.secret = base64.b64decode(secret)
    with http.server.HTTPServer(("127.0.0.1", port), Receiver) as server:
        while len(Receiver.seen) != count:
            server.handle_request()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else -1)
