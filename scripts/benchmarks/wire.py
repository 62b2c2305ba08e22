"""Counts the bytes between two processes: the kernel's own count for each TCP socket.

``ss -ti`` tells how many bytes of payload each socket sent and received (TCP_INFO). That needs no
privilege, costs the processes nothing, and counts what a proxy or ``/proc/PID/io`` would miss or
slow down. TCP and IP headers are not in it.
"""

import re
import subprocess

_PID = re.compile(r"pid=(\d+)")
_SENT = re.compile(r"\bbytes_sent:(\d+)")
_RETRANSMITTED = re.compile(r"\bbytes_retrans:(\d+)")


def sent_bytes(sender: set[int], receiver: set[int]) -> int:
    """Returns what all sockets of the senders sent so far to sockets of the receivers.

    Sockets that are closed are forgotten: read it while the connections last.
    """
    done = subprocess.run(
        ["ss", "-tinpHO", "state", "established"], capture_output=True, text=True, check=True
    )
    return count(done.stdout, sender, receiver)


def count(listing: str, sender: set[int], receiver: set[int]) -> int:
    """Returns the same from what ``ss`` printed."""
    owners: dict[tuple[str, str], int] = {}
    sent: dict[tuple[str, str], int] = {}
    for line in listing.splitlines():
        pid = _PID.search(line)
        words = line.split()
        if pid is None or len(words) < 4:
            continue
        ends = (_plain(words[2]), _plain(words[3]))
        owners[ends] = int(pid[1])
        told, again = _SENT.search(line), _RETRANSMITTED.search(line)
        sent[ends] = (int(told[1]) if told else 0) - (int(again[1]) if again else 0)
    return sum(
        each
        for (here, there), each in sent.items()
        if owners[here, there] in sender and owners.get((there, here)) in receiver
    )


def _plain(address: str) -> str:
    """An IPv4 address, however a socket of both families writes it."""
    return address.replace("[::ffff:", "").replace("]", "")
