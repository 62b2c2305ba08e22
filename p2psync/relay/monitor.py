"""The health endpoint and the metrics of a relay, for whoever watches over the machine.

Plain HTTP on a loopback address unless the operator says otherwise. It shows numbers and the names
that the operator gave to tokens, no secret, no device and no address.
"""

import json
import logging
from collections.abc import Callable, Iterable
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

logger = logging.getLogger(__name__)
logger.setLevel(logging.WARNING)  # the server announces itself, in its own words

Status = dict[str, Any]
_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Collector:
    """Reads the relay's state when somebody asks."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        said = self._status()
        for name, text in (
            ("connections", "connections that are open now"),
            ("devices", "devices with a reservation"),
            ("circuits", "circuits that are open now"),
        ):
            yield GaugeMetricFamily(f"p2psync_relay_{name}", text, value=said[name])
        yield GaugeMetricFamily(
            "p2psync_relay_uptime_seconds", "since the start", value=said["uptime_seconds"]
        )
        yield CounterMetricFamily(
            "p2psync_relay_carried_bytes", "passed on since the start", value=said["carried_bytes"]
        )
        refused = CounterMetricFamily(
            "p2psync_relay_refused", "refusals since the start", labels=["what"]
        )
        for what, count in sorted(said["refused"].items()):
            refused.add_metric([what], count)
        yield refused
        today = GaugeMetricFamily(
            "p2psync_relay_token_bytes_today", "carried today (UTC)", labels=["token"]
        )
        devices = GaugeMetricFamily(
            "p2psync_relay_token_devices", "devices with a reservation", labels=["token"]
        )
        for token in said["tokens"]:
            today.add_metric([token["name"]], token["bytes_today"])
            devices.add_metric([token["name"]], token["devices"])
        yield today
        yield devices


def application(status: Callable[[], Status]) -> Starlette:
    """The endpoints ``/health``, ``/status`` and ``/metrics``."""
    registry = CollectorRegistry()
    registry.register(_Collector(status))

    async def health(_: Request) -> Response:
        said = status()
        return JSONResponse({"status": said["state"]}, 200 if said["state"] == "running" else 503)

    async def whole(_: Request) -> Response:
        return Response(json.dumps(status()), media_type="application/json")

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=_TYPE)

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/status", whole),
            Route("/metrics", metrics),
        ]
    )


async def run(status: Callable[[], Status], host: str, port: int) -> None:
    """Serve until cancelled."""
    config = Config()
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    config.accesslog = None
    config.errorlog = logger
    config.include_server_header = False
    config.keep_alive_timeout = 5
    await serve(application(status), config, shutdown_trigger=trio.sleep_forever)  # type: ignore[arg-type]  # its own ASGI types
