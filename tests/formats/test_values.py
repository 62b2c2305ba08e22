"""Amounts and dates as people write them."""

import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.formats.values import clean, decode_cp1252, digest, read_amount, read_date


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", "0"),
        ("1850.00", "1850"),
        ("-12.5", "-12.5"),
        ("+3", "3"),
        ("12.50-", "-12.5"),
        ("1'000.00", "1000"),
        ("1\u2019234\u2019567.80", "1234567.8"),
        ("1 000.00", "1000"),
        ("1,000.00", "1000"),
        ("1,234,567.8", "1234567.8"),
        ("12,50", "12.5"),
        (".5", "0.5"),
        ("1,000", None),
        ("1,00,0.0", None),
        ("1.000,00", None),
        ("12.", None),
        ("", None),
        ("-", None),
        ("--5", None),
        ("1e5", None),
        ("Infinity", None),
        ("NaN", None),
        ("1_000", None),
        ("\u0661", None),
        ("\u00b2", None),
        ("9" * 40, None),
    ],
)
def test_amounts(text: str, amount: str | None) -> None:
    assert read_amount(text) == (None if amount is None else Decimal(amount))


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=2))
def test_an_amount_is_read_without_rounding(amount: Decimal) -> None:
    assert read_amount(str(amount)) == amount
    assert read_amount(f"{amount:,}".replace(",", "'")) == amount
    assert read_amount(f"{amount:,}") == amount


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("05.03.2025", (2025, 3, 5)),
        ("5.3.2025", (2025, 3, 5)),
        ("05/03/2025", (2025, 3, 5)),
        ("05.03.25", (2025, 3, 5)),
        ("05.03.69", (2069, 3, 5)),
        ("05.03.70", (1970, 3, 5)),
        ("29.02.2024", (2024, 2, 29)),
        ("29.02.2025", None),
        ("00.01.2025", None),
        ("2025-03-05", None),
        ("05.03.202", None),
        ("05.03.0000", None),
        ("05.03", None),
        ("", None),
        ("\u0661.1.2025", None),
    ],
)
def test_dates(text: str, date: tuple[int, int, int] | None) -> None:
    assert read_date(text) == (None if date is None else datetime.date(*date))


@given(st.text())
def test_any_text_is_an_amount_or_none(text: str) -> None:
    amount = read_amount(text)
    assert amount is None or amount.is_finite()
    read_date(text)
    assert clean(text).isprintable()


@given(st.binary())
def test_windows_1252_is_decoded_byte_by_byte(data: bytes) -> None:
    assert decode_cp1252(data) == data.decode("cp1252", "replace")


def test_digests_are_told_apart_by_their_purpose() -> None:
    assert digest(b"one", b"") != digest(b"two", b"")
    assert digest(b"one", b"x") == digest(b"one", b"x")
