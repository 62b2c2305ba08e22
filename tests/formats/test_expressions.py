"""Sums written out in an amount."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.formats.expressions import Weight, evaluate, missing, product

_SUMS = st.recursive(
    st.integers(0, 999).map(str) | st.sampled_from(["1.5", "2,000.25", ".5", "7."]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(" ".join),
        inner.map("({})".format),
        inner.map("-{}".format),
    ),
    max_leaves=8,
)


@given(_SUMS)
def test_sums_are_what_python_makes_of_them(text: str) -> None:
    if len(text) > 200:
        assert evaluate(text) is None
        return
    numbers = "".join(
        f"Decimal('{each}')" if each[0].isdigit() or each[0] == "." else each
        for each in _tokens(text.replace(",", ""))
    )
    assert evaluate(text) == eval(numbers, {"Decimal": Decimal})


def _tokens(text: str) -> list[str]:
    out: list[str] = []
    for char in text:
        if (
            out
            and (char.isdigit() or char == ".")
            and (out[-1][-1].isdigit() or out[-1][-1] == ".")
        ):
            out[-1] += char
        else:
            out.append(char)
    return [each for each in out if each != " "]


@pytest.mark.parametrize(
    "text",
    ["", "+", "1 2", "(1", "1)", "()", "1 +", "* 1", "1,00", "1e5", "1..2", "x", "1/0", "1" * 201],
)
def test_what_is_no_sum(text: str) -> None:
    assert evaluate(text) is None


@given(st.text("0123456789.,+-*/() ", max_size=40))
def test_any_characters_give_a_number_or_nothing(text: str) -> None:
    found = evaluate(text)
    assert found is None or found.is_finite()


def test_divisions_are_rounded_and_powers_are_not_reached() -> None:
    assert evaluate("10 / 4") == Decimal("2.5")
    assert evaluate("1/3") == Decimal("0." + "3" * 28)
    assert evaluate("*".join(["99999999"] * 20)) is not None


def test_what_is_missing_is_found_in_one_currency_alone() -> None:
    one, other = Weight(Decimal(3), "CHF"), Weight(Decimal(-1), "CHF")
    euro = Weight(Decimal(1), "EUR")
    assert missing([one, None, other], [False, True, False]) == Weight(Decimal(-2), "CHF")
    assert missing([one, euro, None], [False, False, True]) is None
    assert missing([one, None], [False, False]) is None
    assert missing([one, None, None], [False, True, True]) is None
    assert missing([None], [True]) is None
    zero = Weight(Decimal(0), "EUR")
    assert missing([one, zero, None], [False, False, True]) == Weight(Decimal(-3), "CHF")


def test_a_product_has_no_more_zeros_than_two() -> None:
    assert str(product(Decimal("200.00"), Decimal("0.95"))) == "190.00"
    assert str(product(Decimal("1.5"), Decimal("0.333"))) == "0.4995"
    assert str(product(Decimal(-10), Decimal(4))) == "-40"
    assert product(Decimal("9" * 60), Decimal("9" * 60)).is_finite()
