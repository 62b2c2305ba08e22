"""Time stamps by RFC 3161, of a real authority: openssl on this machine."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from p2psync.audit import stamps
from p2psync.audit.stamping import stamp
from p2psync.audit.verify import Verification, Wanted, verify
from p2psync.core import audit
from p2psync.core.audit import Kind
from p2psync.errors import (
    AuditFileError,
    CertificatesInvalid,
    InputUnreadable,
    StampsFull,
    TimeStampFailed,
    TimeStampWrong,
)
from p2psync.limits import AUDIT_STAMPS_MAX
from tests.audit.authority import Authority, made, openssl, serving
from tests.audit.book import SMALL, Device, parts, resealed, small_book
from tests.core.lines import read


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tsa") / "one"
    made(folder)
    return folder


@pytest.fixture
def authority(keys: Path) -> Iterator[Authority]:
    with serving(Authority(keys)) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.p2psync-audit"
    path.write_bytes(small_book().export())
    return path


def looked(path: Path, *roots: Path) -> Verification:
    """What verify finds, with some root certificates."""
    known = [each for root in roots for each in stamps.load_certificates(root)]
    return verify(path, Wanted(roots=known), reader=read)


def test_a_stamp_is_put_in_and_verifies(authority: Authority, file: Path) -> None:
    before = file.read_bytes()
    roots = stamps.load_certificates(authority.root)
    said = stamp(file, authority.url, roots)
    assert said.trusted and said.at is not None and "Test TSA" in said.signer
    found = looked(file, authority.root)
    assert found.verified and [each.trusted for each in found.stamps] == [True]
    assert "stamped" in {each.code for each in found.proven}
    assert "no-stamp" not in {each.code for each in found.unproven}
    assert SMALL.verify(file) == []
    assert file.read_bytes().startswith(before[:-37])


def test_openssl_takes_what_is_in_the_file(
    authority: Authority, file: Path, tmp_path: Path
) -> None:
    """The answer as it is stored, and the manifest's frame: what an auditor needs for openssl."""
    stamp(file, authority.url, ())
    bodies = dict(parts(file.read_bytes()))
    (tmp_path / "manifest").write_bytes(bodies[Kind.MANIFEST])
    (tmp_path / "answer.tsr").write_bytes(audit.load_stamp(bodies[Kind.STAMP]).response)
    words = ("-data", "manifest", "-in", "answer.tsr", "-CAfile", str(authority.root))
    openssl(tmp_path, "ts", "-verify", *words)


def test_without_a_certificate_it_is_not_taken_for_proof(authority: Authority, file: Path) -> None:
    stamp(file, authority.url, ())
    found = looked(file)
    assert found.verified and found.stamps[0].trusted is None
    assert "stamp-unchecked" in {each.code for each in found.unproven}
    assert "stamped" not in {each.code for each in found.proven}


def test_an_authority_that_is_not_the_one_given(
    authority: Authority, file: Path, tmp_path: Path
) -> None:
    other = made(tmp_path / "other", "Other TSA")
    stamp(file, authority.url, ())
    found = looked(file, other.root)
    assert [each.code for each in found.requests] == ["stamp-untrusted"]
    assert found.exit_code == 3 and not found.verified
    with pytest.raises(TimeStampWrong):
        stamp(file, authority.url, stamps.load_certificates(other.root))


def test_a_certificate_that_is_not_for_time_stamping(file: Path, tmp_path: Path) -> None:
    """openssl itself refuses to stamp with it; who stamps with a program of its own is found."""
    odd = made(tmp_path / "odd", "Odd TSA")
    real = (odd.folder / "tsa.pem").read_bytes()
    with serving(odd):
        stamp(file, odd.url, ())
    plain = made(tmp_path / "plain", "Odd TSA", "plain_leaf")
    assert (plain.folder / "tsa.pem").read_bytes() != real
    found = looked(file, plain.root)
    assert [each.code for each in found.requests] == ["stamp-untrusted"]


def test_certificates_were_given_and_nothing_is_stamped(authority: Authority, file: Path) -> None:
    found = looked(file, authority.root)
    assert [each.code for each in found.requests] == ["stamp-none"]
    assert found.exit_code == 3


def other_nonce(request: bytes) -> bytes:
    """A request with another nonce: the last INTEGER before ``certReq``."""
    place = request.rindex(b"\x01\x01\xff") - 1
    return request[: place - 1] + bytes([request[place - 1] ^ 1]) + request[place:]


def other_imprint(request: bytes) -> bytes:
    """A request for another message."""
    place = request.index(b"\x04\x20") + 2
    return request[:place] + bytes([request[place] ^ 1]) + request[place + 1 :]


@pytest.mark.parametrize(
    ("ask", "cause"), [(other_nonce, "another request"), (other_imprint, "something else")]
)
def test_an_answer_to_another_request(
    ask: Callable[[bytes], bytes], cause: str, authority: Authority, file: Path
) -> None:
    before = file.read_bytes()
    authority.ask = ask
    with pytest.raises(TimeStampWrong, match=cause) as caught:
        stamp(file, authority.url, ())
    assert "as it was" in caught.value.hint
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("status", "spoil", "cause"),
    [
        (500, None, "HTTP 500"),
        (302, None, "HTTP 302"),
        (404, None, "HTTP 404"),
        (200, lambda answer: b"", "empty"),
        (200, lambda answer: bytes(10_000_000), "too large"),
    ],
)
def test_an_authority_that_fails(
    status: int,
    spoil: Callable[[bytes], bytes] | None,
    cause: str,
    authority: Authority,
    file: Path,
) -> None:
    before = file.read_bytes()
    authority.status = status
    authority.spoil = spoil or authority.spoil
    with pytest.raises(TimeStampFailed, match=cause):
        stamp(file, authority.url, ())
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answer: b"<html>busy</html>",
        lambda answer: answer[:-1],
        lambda answer: answer[: len(answer) // 2],
        lambda answer: b"\x30\x05\x30\x03\x02\x01\x02",
    ],
    ids=["page", "one byte short", "half", "refusal"],
)
def test_an_answer_that_is_no_stamp(
    spoil: Callable[[bytes], bytes], authority: Authority, file: Path
) -> None:
    authority.spoil = spoil
    with pytest.raises(TimeStampWrong, match=r"cannot be read|refused"):
        stamp(file, authority.url, ())


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "http://", "ftp://127.0.0.1/", "x"])
def test_an_address_that_is_none(url: str, file: Path) -> None:
    with pytest.raises(TimeStampFailed, match="no http or https URL"):
        stamp(file, url, ())


def test_nobody_there(file: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/"
        with pytest.raises(TimeStampFailed):
            stamp(file, url, ())


def test_each_changed_byte_of_a_stamp_is_found(authority: Authority, file: Path) -> None:
    """Also by who put the last digest right again, as far as it is signed by the authority."""
    stamp(file, authority.url, ())
    roots = stamps.load_certificates(authority.root)
    [message] = [body for kind, body in parts(file.read_bytes()) if kind is Kind.MANIFEST]
    [body] = [body for kind, body in parts(file.read_bytes()) if kind is Kind.STAMP]
    genuine = audit.load_stamp(body)
    info = stamps.check(genuine, message, roots)
    assert info.trusted
    for place in range(0, len(genuine.response), 7):
        spoilt = bytearray(genuine.response)
        spoilt[place] ^= 0x55
        found = stamps.check(replace(genuine, response=bytes(spoilt)), message, roots)
        # What is not signed may differ: then it still says the same.
        assert not found.trusted or (found.at, found.cause) == (info.at, "")


def test_a_stamp_of_another_file_is_found(authority: Authority, file: Path) -> None:
    stamp(file, authority.url, ())
    some = parts(file.read_bytes())
    [taken] = [part for part in some if part[0] is Kind.STAMP]
    other = parts(small_book().export(Device("ben")))
    file.write_bytes(resealed([*other[:-1], taken]))
    found = looked(file)
    assert [each.code for each in found.check.problems] == ["stamp"]
    assert found.exit_code == 5
    assert SMALL.verify(file) != []


def test_several_stamps_and_no_more(authority: Authority, file: Path) -> None:
    some = parts(file.read_bytes())
    stamp(file, authority.url, ())
    stamp(file, authority.url, ())
    assert [each.trusted for each in looked(file, authority.root).stamps] == [True, True]
    [taken, _] = [part for part in parts(file.read_bytes()) if part[0] is Kind.STAMP]
    file.write_bytes(resealed([*some[:-1], *[taken] * AUDIT_STAMPS_MAX]))
    with pytest.raises(StampsFull):
        stamp(file, authority.url, ())
    file.write_bytes(resealed([*some[:-1], *[taken] * (AUDIT_STAMPS_MAX + 1)]))
    assert not looked(file).sound


def test_a_file_that_does_not_hold_is_not_stamped(
    authority: Authority, file: Path, tmp_path: Path
) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(AuditFileError):
        stamp(file, authority.url, ())
    with pytest.raises(InputUnreadable):
        stamp(tmp_path / "none", authority.url, ())


def test_certificates(authority: Authority, tmp_path: Path) -> None:
    [pem] = stamps.load_certificates(authority.root)
    openssl(tmp_path, "x509", "-in", str(authority.root), "-outform", "DER", "-out", "ca.der")
    assert stamps.load_certificates(tmp_path / "ca.der") == [pem]
    for data in (b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"):
        (tmp_path / "bad.pem").write_bytes(data)
        with pytest.raises(CertificatesInvalid):
            stamps.load_certificates(tmp_path / "bad.pem")
    with pytest.raises(InputUnreadable):
        stamps.load_certificates(tmp_path / "none.pem")
