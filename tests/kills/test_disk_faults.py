"""Each place that a node writes to fails in each way, under work: it says so, loses nothing, and
goes on by itself once the disk does.
"""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kills.hosts import Host, Refused, eventually
from tests.kills.life import MANDATE, Life, invoices

STORAGE_EXIT_CODE = 6
WAYS = {"full": errno.ENOSPC, "read-only": errno.EROFS, "failing": errno.EIO}
Cause = Callable[[Life, Host], None]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """Three nodes at work that look quickly whether the disk works again."""
    with Life(tmp_path_factory.mktemp("disks") / "life", 7, mutant="impatient") as life:
        yield life
        life.settle()
        life.last_post()


def told(host: Host) -> list[str]:
    """What a person who looks at status, alerts and files is told of trouble."""
    status, shown = host.ask("status"), host.ask("mandates", MANDATE)
    texts = [alert["text"] for alert in host.alerts()]
    if "read_only" in status:
        assert status["read_only"]["hint"]
        assert (shown["state"], shown["action"]) == ("read-only", "mend-disk")
        texts.append(status["read_only"]["text"])
    return texts


def is_told(host: Host, place: Path) -> bool:
    """Whether the place is named."""
    return any(str(place) in text for text in told(host))


def refused(life: Life, act: Callable[[], None], place: Path) -> None:
    """A command ends with the error of the disk: cause, thing, next step."""

    def ends_so() -> bool:
        try:
            act()
        except Refused as refusal:
            error = refusal.error
            return bool(
                error["exit_code"] == STORAGE_EXIT_CODE
                and str(place) in error["text"]
                and error["hint"]
            )
        return False

    eventually(ends_so, what=f"a command is refused for {place}")


def goes_on(life: Life, host: Host) -> None:
    """No restart: it writes again, has all, and nobody is alarmed any more."""
    host.faults.clear()
    eventually(lambda: "read_only" not in host.ask("status"), what="it writes again")
    life.settle()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> int:
    """How the disk fails."""
    return WAYS[request.param]


def test_the_database(life: Life, way: int) -> None:
    host, place = life.accountant, life.accountant.home / "p2psync.db"
    host.faults.set(way, place)
    life.save(1, more=3)
    refused(life, life.post, place)
    refused(life, lambda: life.name(0), place)
    assert is_told(host, place)
    assert "disk-failed" in {alert["type"] for alert in host.alerts()}
    goes_on(life, host)
    assert "disk-failed" not in {alert["type"] for alert in host.alerts()}


def test_where_content_comes_in(life: Life, way: int) -> None:
    host, place = life.accountant, life.accountant.home / "incoming"
    host.faults.set(way, place, host.home / "chunks")
    life.replace(1, 900_000)
    eventually(lambda: is_told(host, host.home), what="it is told")
    goes_on(life, host)


def test_where_old_versions_are_kept(life: Life, way: int) -> None:
    host, place = life.accountant, life.accountant.home / "versions"
    host.faults.set(way, place)
    life.replace(1, 900_000)
    eventually(lambda: is_told(host, place) or life.arrived(host), what="it is told, or no matter")
    goes_on(life, host)


def test_the_mandate_folder(life: Life, way: int) -> None:
    host, place = life.accountant, life.accountant.home / "mandates"
    host.faults.set(way, place)
    life.save(1, more=2)
    life.replace(1, 250_000)
    eventually(lambda: is_told(host, place), what="it is told")
    states = {file["state"] for file in host.ask("mandates", MANDATE)["files"]}
    assert "cannot-write" in states
    life.post()  # what can be done is done
    goes_on(life, host)


def test_the_folder_of_an_attached_file(life: Life, way: int) -> None:
    """Somebody else changes the copy: it cannot be written where its owner works (B-ATT-6)."""
    clerk = life.hosts[1]
    file = life.model.files["clerk.ecf"]
    clerk.faults.set(way, clerk.work)
    content = file.current + b"".join(invoices(life.rng, file.name, 2))
    file.contents.append(content)
    copy = life.accountant.home / "mandates" / MANDATE / file.name
    beside = copy.with_name(".saving")
    beside.write_bytes(content)
    beside.replace(copy)
    eventually(lambda: is_told(clerk, clerk.work), what="it is told")
    goes_on(life, clerk)
    assert file.path.read_bytes() == content


def test_where_a_post_is_handed_over(life: Life, way: int) -> None:
    """Neither output nor receipt: the postings wait still."""
    host = life.accountant
    life.save(1, more=2)
    life.settle()
    host.faults.set(way, host.work)
    refused(life, life.post, host.work)
    host.faults.clear()
    life.settle()


def test_the_marks(life: Life, way: int) -> None:
    """They only help to notice a restored backup: all goes on without them (B-ID-4)."""
    host = life.accountant
    host.faults.set(way, host.home / "highwater")
    life.save(1, more=1)
    life.name(0)
    life.post()
    goes_on(life, host)
    life.name(0)
    host.kill()
    host.start()
    life.check(host)


def test_the_key(life: Life, way: int) -> None:
    """A key that cannot be sealed under a passphrase stays as it is, and in use (B-ID-1)."""
    host = life.accountant
    host.faults.set(way, host.home / "device.key", host.home / ".p2psync")
    body = {"passphrase": "correct horse battery"}
    refused(life, lambda: _discard(host("POST", "identity", "lock", body=body)), host.home)
    assert host.ask("identity")["locked"] is False
    goes_on(life, host)
    host.kill()
    host.start()
    life.check(host)


def _discard(_: object) -> None:
    """What comes back does not matter."""
