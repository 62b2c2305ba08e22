"""B-NET: for each member it is told how it is reached, and since when."""

import pytest
import trio

from p2psync.engine.engine import PeerStatus
from p2psync.network.identity import peer_id_text
from p2psync.node.reach import reached

RELAY = b"relay".ljust(32, b".")
DEVICE = b"device".ljust(32, b".")


def host_of(relay: bytes) -> str:
    assert relay == RELAY
    return "relay.example.ch"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("/ip4/192.168.1.20/tcp/4001", {"how": "lan"}),
        ("/ip4/10.1.2.3/tcp/4001", {"how": "lan"}),
        ("/ip4/172.31.0.1/tcp/4001", {"how": "lan"}),
        ("/ip4/169.254.9.9/tcp/4001", {"how": "lan"}),
        ("/ip4/127.0.0.1/tcp/4001", {"how": "lan"}),
        ("/ip6/fe80::1/tcp/4001", {"how": "lan"}),
        ("/ip6/fd00::1/tcp/4001", {"how": "lan"}),
        ("/ip4/203.0.113.9/tcp/4001", {"how": "direct"}),
        ("/ip4/172.32.0.1/tcp/4001", {"how": "direct"}),
        ("/ip6/2001:db8::1/tcp/4001", {"how": "direct"}),
        ("/ip4/203.0.113.9/tcp/4001/punched", {"how": "punched"}),
        ("/dns4/office.example.ch/tcp/4001", {"how": "direct"}),
        ("", {"how": "direct"}),
        (
            f"/p2p/{peer_id_text(RELAY)}/p2p-circuit",
            {"how": "relayed", "relay": "relay.example.ch"},
        ),
    ],
)
async def test_b_net_the_way_to_a_member_is_told(address: str, told: dict[str, str]) -> None:
    since = trio.current_time()
    said = reached(PeerStatus(DEVICE, True, True, address, since), host_of)
    assert said is not None and said.pop("since")
    assert said == told


async def test_b_net_a_member_that_is_away_is_reached_by_nothing() -> None:
    assert reached(PeerStatus(DEVICE, False, False, "", None), host_of) is None
