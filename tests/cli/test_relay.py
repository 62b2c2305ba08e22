"""``relay add|list|remove``: what they send, and what they say (B-NET-2)."""

from p2psync.cli import output
from tests.cli.rig import CommandLine

PLACE = "/dns4/relay.example.ch/tcp/4001/p2p/12D3KooWRelay"


def test_a_relay_is_named_for_this_node_or_for_all_members(acme: CommandLine) -> None:
    acme("relay", "add", PLACE)
    assert list(acme.service.calls[-1]) == ["relay_add", PLACE, None]
    said = acme("relay", "add", PLACE, "--mandate", "Acme")
    assert list(acme.service.calls[-1]) == ["relay_add", PLACE, "Acme"]
    assert "12D3KooWRelay" in said.out


def test_the_list_says_who_named_each(acme: CommandLine) -> None:
    said = acme("relay", "list")
    assert "this node, mandate Acme" in said.out
    (relay,) = acme.json("relay", "list")["relays"]
    assert (relay["own"], relay["mandates"], relay["tickets"]) == (True, ["Acme"], [])


def test_removing_says_who_names_it_still(acme: CommandLine) -> None:
    said = acme("relay", "remove", "relay.example.ch")
    assert list(acme.service.calls[-1]) == ["relay_remove", "relay.example.ch", None]
    assert "Acme names 12D3KooWRelay for all its members" in said.out
    assert "p2psync relay remove --mandate Acme ends that" in said.out
    said = acme("relay", "remove", "relay.example.ch", "--mandate", "Acme")
    assert list(acme.service.calls[-1]) == ["relay_remove", "relay.example.ch", "Acme"]
    assert "this node goes on using 12D3KooWRelay: it was added here" in said.out


def test_how_fast_a_member_is_is_told_in_a_few_words() -> None:
    said = {"rtt_ms": 12.3, "up_bytes_per_second": 1_234_567, "down_bytes_per_second": 0}
    assert output.pace(said) == "12.3 ms ↑ 1234 kB/s"
    assert output.pace({**said, "rtt_ms": None, "down_bytes_per_second": 7}) == (
        "↑ 1234 kB/s ↓ 7 B/s"
    )
    assert output.pace(None) == ""
