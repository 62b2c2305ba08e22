"""The health endpoint and the metrics of a relay, for whoever watches over the machine.

Plain HTTP on a loopback address unless the operator says otherwise. It shows numbers and the names
that the operator gave to tokens and mandates, no secret, no device and no address.
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
            ("awaited", "devices that had a reservation before the restart and may come back"),
            ("circuits", "circuits that are open now"),
            ("mandates", "mandates that devices with a reservation have, as far as they show"),
            ("records", "sealed addresses that members left for one another"),
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
        reloads = CounterMetricFamily(
            "p2psync_relay_reloads", "configuration read again since the start", labels=["result"]
        )
        for result, count in sorted(said["reloads"].items()):
            reloads.add_metric([result], count)
        yield reloads
        questions = CounterMetricFamily(
            "p2psync_relay_rendezvous", "questions since the start", labels=["answer"]
        )
        for result, count in sorted(said["rendezvous"].items()):
            questions.add_metric([result], count)
        yield questions
        yield GaugeMetricFamily(
            "p2psync_relay_state_kept", "1 when places survive a restart", value=said["state_kept"]
        )
        for kind in ("token", "group"):
            yield from _uses(kind, said[f"{kind}s"])


def _uses(kind: str, uses: list[dict[str, Any]]) -> Iterable[Metric]:
    """What was used by each token or group, under the name that the operator gave it."""
    for key, text in (
        ("bytes_today", "carried today (UTC)"),
        ("devices", "devices with a reservation"),
        ("circuits", "circuits that are open now"),
    ):
        family = GaugeMetricFamily(f"p2psync_relay_{kind}_{key}", text, labels=[kind])
        for use in uses:
            family.add_metric([use["name"]], use[key])
        yield family


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
