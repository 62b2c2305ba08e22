"""A router with UPnP, as far as a client of InternetGatewayDevice:1 needs one.

Run in a router's namespace: ``python -m tests.network.igd LAN WAN [no-leases]``. It answers to
searches in the LAN (SSDP) and to SOAP, maps ports with nftables, and prints each action as one line
of JSON.
"""

import http.server
import json
import re
import socket
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass, field

GROUP, SSDP_PORT, HTTP_PORT = "239.255.255.250", 1900, 5000
DEVICE = "urn:schemas-upnp-org:device:{}:1"
SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1"
_DESCRIPTION = """<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0">
<specVersion><major>1</major><minor>0</minor></specVersion>
<device><deviceType>{igd}</deviceType><friendlyName>box</friendlyName><UDN>uuid:1</UDN><deviceList>
<device><deviceType>{wan}</deviceType><UDN>uuid:2</UDN>
<serviceList><service>
<serviceType>urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1</serviceType>
<serviceId>urn:upnp-org:serviceId:WANCommonIFC1</serviceId><SCPDURL>/none</SCPDURL>
<controlURL>/common</controlURL><eventSubURL>/none</eventSubURL></service></serviceList>
<deviceList><device><deviceType>{connection}</deviceType><UDN>uuid:3</UDN><serviceList><service>
<serviceType>{service}</serviceType><serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId>
<SCPDURL>/none</SCPDURL><controlURL>/control</controlURL><eventSubURL>/none</eventSubURL>
</service></serviceList></device></deviceList></device></deviceList></device></root>
""".format(
    igd=DEVICE.format("InternetGatewayDevice"),
    wan=DEVICE.format("WANDevice"),
    connection=DEVICE.format("WANConnectionDevice"),
    service=SERVICE,
)


def say(event: object) -> None:
    """Tell the test."""
    print(json.dumps(event), flush=True)  # noqa: T201 - its output is how the test hears it


@dataclass
class Box:
    """The router's state."""

    lan: str
    wan: str
    leases: bool = True
    mappings: dict[str, tuple[str, str]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def act(self, action: str, given: dict[str, str]) -> dict[str, str] | int:
        """Do one SOAP action: what is answered, or the number of an error."""
        with self.lock:
            match action:
                case "GetStatusInfo":
                    connected = {"NewConnectionStatus": "Connected", "NewUptime": "1"}
                    return {**connected, "NewLastConnectionError": "ERROR_NONE"}
                case "GetExternalIPAddress":
                    return {"NewExternalIPAddress": self.wan}
                case "AddPortMapping":
                    return self._add(given)
                case "DeletePortMapping":
                    self._say(action, given)
                    self.mappings.pop(given["NewExternalPort"], None)
                    self._apply()
                    return {}
                case _:
                    return 401

    def _add(self, given: dict[str, str]) -> dict[str, str] | int:
        self._say("AddPortMapping", given)
        if not self.leases and given["NewLeaseDuration"] != "0":
            return 725
        inside = (given["NewInternalClient"], given["NewInternalPort"])
        if self.mappings.get(given["NewExternalPort"], inside)[0] != inside[0]:
            return 718
        self.mappings[given["NewExternalPort"]] = inside
        self._apply()
        return {}

    def _apply(self) -> None:
        rules = ["flush chain ip office pre"]
        rules += [
            f'add rule ip office pre iifname "wan" tcp dport {port} dnat to {host}:{inside}'
            for port, (host, inside) in self.mappings.items()
        ]
        subprocess.run(["nft", "-f", "-"], input="\n".join(rules).encode(), check=True, timeout=20)

    def _say(self, action: str, given: dict[str, str]) -> None:
        say({"action": action, **given})


def _answer_searches(box: Box) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((GROUP, SSDP_PORT))
        joined = struct.pack("4s4s", socket.inet_aton(GROUP), socket.inet_aton(box.lan))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
        say({"ready": True})
        while True:
            data, sender = sock.recvfrom(4096)
            wanted = re.search(rb"(?im)^ST:\s*(\S+)", data)
            if not data.startswith(b"M-SEARCH") or wanted is None:
                continue
            answer = (
                "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nEXT:\r\n"
                f"LOCATION: http://{box.lan}:{HTTP_PORT}/root.xml\r\n"
                f"ST: {wanted[1].decode()}\r\nUSN: uuid:1::{wanted[1].decode()}\r\n\r\n"
            )
            sock.sendto(answer.encode(), sender)


def _handler(box: Box) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(200, _DESCRIPTION)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            action = self.headers["SOAPAction"].strip('"').rpartition("#")[2]
            done = box.act(action, dict(re.findall(r"<(New\w+)[^>]*>([^<]*)<", body)))
            if isinstance(done, int):
                self._send(
                    500,
                    "<s:Fault><detail><UPnPError>"
                    f"<errorCode>{done}</errorCode><errorDescription>no</errorDescription>"
                    "</UPnPError></detail></s:Fault>",
                )
                return
            values = "".join(f"<{name}>{value}</{name}>" for name, value in done.items())
            self._send(
                200, f'<u:{action}Response xmlns:u="{SERVICE}">{values}</u:{action}Response>'
            )

        def _send(self, status: int, body: str) -> None:
            if not body.startswith("<?xml"):
                body = (
                    '<?xml version="1.0"?><s:Envelope xmlns:s='
                    f'"http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{body}</s:Body></s:Envelope>'
                )
            data = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(data)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def main() -> None:
    """Serve until the process is ended."""
    box = Box(sys.argv[1], sys.argv[2], leases="no-leases" not in sys.argv)
    server = http.server.ThreadingHTTPServer((box.lan, HTTP_PORT), _handler(box))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _answer_searches(box)


if __name__ == "__main__":
    main()
