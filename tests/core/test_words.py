"""Generated passphrases and key phrases (B-TIC-2, B-ID-2)."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.core import words


def test_the_list_is_4096_distinct_plain_words() -> None:
    assert len(words.WORDS) == len(set(words.WORDS)) == 1 << words.WORD_BITS
    assert all(len(word) == 4 and word.isascii() and word.islower() for word in words.WORDS)
    assert not {"nazi", "pute", "bite", "rape"} & set(words.WORDS)


@given(st.binary(min_size=9, max_size=9))
def test_every_bit_of_the_entropy_is_in_the_passphrase(entropy: bytes) -> None:
    spoken = words.passphrase(entropy).split()
    assert len(spoken) == 6
    number = 0
    for word in spoken:
        number = number << 12 | words.WORDS.index(word)
    assert number.to_bytes(9, "big") == entropy


def test_too_little_randomness_is_refused() -> None:
    with pytest.raises(ValueError, match="9 bytes"):
        words.passphrase(bytes(8))


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_keys_have_phrases_of_their_own(left: bytes, right: bytes) -> None:
    assert len(words.key_phrase(left).split()) == 5
    assert (words.key_phrase(left) == words.key_phrase(right)) == (left == right)


@pytest.mark.parametrize(
    "typed",
    [
        "loda bemi tuka zore jifa mene",
        "  LODA bemi\ttuka\n zore jifa  mene ",
        "loda-bemi-tuka-zore-jifa-mene",
        "Loda – Bemi – Tuka – Zore – Jifa – Mene",
        "\u00a0loda\u2011bemi tuka zore\u200bjifa mene",
        "ｌｏｄａ bemi tuka zore jifa mene",
    ],
)
def test_ways_to_type_one_passphrase(typed: str) -> None:
    assert words.normalise_passphrase(typed) == "loda bemi tuka zore jifa mene"


def test_composed_and_decomposed_letters_are_one() -> None:
    composed = "élève à la Grande-Straße"
    assert words.normalise_passphrase(composed) == words.normalise_passphrase(
        unicodedata.normalize("NFD", composed).upper()
    )


@given(st.text(st.characters(exclude_categories=())))
def test_normalising_is_total_and_changes_nothing_twice(typed: str) -> None:
    normal = words.normalise_passphrase(typed)
    assert words.normalise_passphrase(normal) == normal
    normal.encode()
