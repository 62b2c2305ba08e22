"""Multicast DNS through zeroconf, in its own thread; the only file that imports it.

Everything here blocks or is called on zeroconf's thread: callers use worker threads. Names are
random, and the machine's own name is never said. Source: RFC 6762, RFC 6763.
"""

import ipaddress
import logging
from collections.abc import Callable, Sequence

# They are exported, but not marked so for type checkers.
from zeroconf import (  # type: ignore[attr-defined]
    BadTypeInNameException,
    DNSAddress,
    DNSService,
    DNSText,
    IPVersion,
    RecordUpdate,
    RecordUpdateListener,
    ServiceBrowser,
    ServiceInfo,
    ServiceStateChange,
    Zeroconf,
)

from p2psync import limits
from p2psync.network.address import address_of
from p2psync.network.announce import SERVICE_TYPE, Heard

logger = logging.getLogger(__name__)

_NAMES_PER_PACKET_MAX = 16
_A, _TXT, _AAAA, _SRV = 1, 16, 28, 33
_IN = 1


class Responder:
    """Announces at most one instance and hears all others, on given IPv4 interfaces.

    ``heard`` is called on zeroconf's thread and must return at once. Raises ``OSError`` when the
    interfaces cannot be used.
    """

    def __init__(self, hosts: Sequence[str], heard: Callable[[Heard], None]) -> None:
        self._zeroconf = Zeroconf(
            interfaces=list(hosts), ip_version=IPVersion.V4Only, use_asyncio=False
        )
        self._announced: ServiceInfo | None = None
        listener = _Listener(self._zeroconf, heard)
        self._zeroconf.add_listener(listener, None)
        # The browser asks and keeps asking; the listener hears the answers.
        self._browser = ServiceBrowser(self._zeroconf, SERVICE_TYPE, handlers=[_ignore])

    def announce(self, name: str, txt: bytes, port: int, hosts: Sequence[str]) -> None:
        """Announce a new instance, then withdraw the one before.

        ``name`` is random and unique by itself, so there is nothing to probe for.
        """
        info = ServiceInfo(
            SERVICE_TYPE,
            f"{name}.{SERVICE_TYPE}",
            port=port,
            properties=txt,
            server=f"{name}.local.",
            addresses=[ipaddress.ip_address(host).packed for host in hosts],
        )
        before, self._announced = self._announced, info
        self._zeroconf.register_service(info, cooperating_responders=True)
        if before is not None:
            self._zeroconf.unregister_service(before)

    def close(self) -> None:
        """Say goodbye and stop."""
        self._zeroconf.close()


def _ignore(
    zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
) -> None:
    return


class _Listener(RecordUpdateListener):
    """Gathers TXT, SRV and addresses once a packet is in zeroconf's (bounded) cache.

    ``Zeroconf.get_service_info`` would wait for seconds for each name that somebody made up.
    """

    def __init__(self, zeroconf: Zeroconf, heard: Callable[[Heard], None]) -> None:
        self._zeroconf = zeroconf
        self._heard = heard
        self._names: set[str] = set()

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        """Note which instances a packet speaks of."""
        for update in records:
            record = update.new
            if (
                isinstance(record, DNSText | DNSService)
                and record.name.lower().endswith("." + SERVICE_TYPE)
                and len(self._names) < _NAMES_PER_PACKET_MAX
            ):
                self._names.add(record.name)

    def async_update_records_complete(self) -> None:
        """Pass on what the cache now knows of them."""
        names, self._names = self._names, set()
        for name in names:
            try:
                self._heard(self._gather(name))
            except (ValueError, BadTypeInNameException) as error:
                logger.debug("ignoring an announcement: %s", error)

    def _gather(self, name: str) -> Heard:
        cache = self._zeroconf.cache
        texts = [r for r in cache.get_all_by_details(name, _TXT, _IN) if isinstance(r, DNSText)]
        services = [
            r for r in cache.get_all_by_details(name, _SRV, _IN) if isinstance(r, DNSService)
        ]
        if not texts or not services:
            return Heard(name, None, ())
        service = services[-1]
        packed = [
            record.address
            for kind in (_A, _AAAA)
            for record in cache.get_all_by_details(service.server, kind, _IN)
            if isinstance(record, DNSAddress)
        ]
        addresses: list[str] = []
        for raw in packed[: limits.ANNOUNCED_ADDRESSES_MAX]:
            ip = ipaddress.ip_address(raw)
            if not (ip.is_multicast or ip.is_unspecified or ip.is_reserved) and service.port:
                addresses.append(str(address_of(str(ip), service.port)))
        return Heard(name, texts[-1].text, tuple(addresses))
