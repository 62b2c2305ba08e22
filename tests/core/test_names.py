"""Names that are the same on every system (protocol.md, "Files", rule 1)."""

import unicodedata
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2psync.core.names import (
    TEMPORARY_PREFIX,
    check_name,
    name_key,
    safe_folder_name,
    unique_names,
)
from p2psync.errors import NameRefused
from p2psync.limits import NAME_BYTES_MAX

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=80)
"""Lone surrogates too: a peer's bytes never make them, a file name on Linux does."""
LIKELY = st.text(st.sampled_from("aA.ß~1 ()éÉſK／conCON-_0²"), min_size=1, max_size=12)
IDS = st.binary(min_size=16, max_size=16)
FILES = st.lists(st.tuples(IDS, LIKELY | ANY_TEXT), max_size=12, unique_by=lambda file: file[0])


def allowed(name: str) -> bool:
    try:
        check_name(name)
    except NameRefused:
        return False
    return True


@pytest.mark.parametrize(
    "name",
    [
        "Ventes 2026.ecf",
        "é.ecs",
        ".hidden",
        "a.b.c",
        "Rapport~1.ecf",
        "½.txt",
        "x" * 200,
        "console",
    ],
)
def test_ordinary_names_pass(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("", "empty"),
        (".", "names a folder"),
        ("..", "names a folder"),
        ("．．", "names a folder"),
        ("../x.ecf", "/"),
        ("/etc/passwd", "/"),
        ("C:\\x", ":"),
        ("a\\b", "\\"),
        ("a/b", "/"),
        ("file.ecf:stream", ":"),
        ("a*b", "*"),
        ("a?b", "?"),
        ('a"b', '"'),
        ("a<b", "<"),
        ("a>b", ">"),
        ("a|b", "|"),
        ("a／b", "stands for"),
        ("a：b", "stands for"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a\x7fb", "control"),
        ("a\x85b", "control"),
        ("a\u202egnp.exe", "invisible"),
        ("a\u2066b", "invisible"),
        ("a\u200bb", "invisible"),
        ("a\u00adb", "invisible"),
        ("a\ufe0fb", "invisible"),
        ("a\u3164b", "invisible"),
        ("a\u2028b", "line separator"),
        ("a\ud800b", "half a character"),
        ("a\uf02ab", "private"),
        ("a\uffffb", "unknown"),
        ("e\u0301.ecf", "composed"),
        ("a.", "ends with"),
        ("a ", "ends with"),
        ("a\u00a0", "ends with"),
        (" a", "begins with"),
        ("CON", "device"),
        ("con.ecf", "device"),
        ("Nul.tar.gz", "device"),
        ("COM0", "device"),
        ("com1.txt", "device"),
        ("COM¹", "device"),
        ("LPT³.ecf", "device"),
        ("ＣＯＮ", "device"),
        ("CONIN$", "device"),
        ("conout$.x", "device"),
        ("CLOCK$", "device"),
        ("AUX .txt", "device"),
        ("GIT~1", "short form"),
        ("VENTES~2.ECF", "short form"),
        (f"{TEMPORARY_PREFIX}abc", "keeps such names"),
        (".P2PSYNC-abc", "keeps such names"),
        ("x" * 201, "longer"),
        ("é" * 101, "longer"),
    ],
)
def test_hostile_names_are_refused_with_their_cause(name: str, cause: str) -> None:
    with pytest.raises(NameRefused) as refused:
        check_name(name)
    assert cause in refused.value.text
    assert refused.value.hint
    assert refused.value.text.isprintable(), "the message itself plays no tricks on a terminal"
    refused.value.text.encode()


@given(ANY_TEXT | LIKELY)
def test_a_name_that_passes_is_harmless_as_a_path(name: str) -> None:
    if allowed(name):
        assert len(name.encode()) <= NAME_BYTES_MAX
        assert unicodedata.is_normalized("NFC", name)
        assert not set(name) & set("/\\:\0")
        assert name not in ("", ".", "..")


@given(ANY_TEXT)
@example("İ")
@example("ẞ")
@example("\u0345\u0301")
def test_a_key_is_its_own_key(name: str) -> None:
    assert name_key(name_key(name)) == name_key(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Straße", "STRASSE"), ("é", "e\u0301"), ("ﬁn", "FIN"), ("K", "k"), ("Ａ", "a"), ("ſ", "S")],
)
def test_twins_have_one_key(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


@given(FILES, st.randoms(use_true_random=False))
def test_shown_names_are_allowed_unique_and_the_same_in_any_order(
    files: list[tuple[bytes, str]], random: Random
) -> None:
    shown = unique_names(files)
    assert shown.keys() == {file_id for file_id, _name in files}
    assert all(allowed(name) for name in shown.values())
    assert len({name_key(name) for name in shown.values()}) == len(files)
    shuffled = list(files)
    random.shuffle(shuffled)
    assert unique_names(shuffled) == shown


@given(FILES)
def test_a_lone_allowed_name_is_shown_as_it_is(files: list[tuple[bytes, str]]) -> None:
    shown = unique_names(files)
    lowest: dict[str, bytes] = {}
    for file_id, name in sorted(files):
        if allowed(name):
            lowest.setdefault(name_key(name), file_id)
    names = dict(files)
    unnamed = {name_key(shown[file_id]) for file_id, name in files if not allowed(name)}
    for key, file_id in lowest.items():
        if key not in unnamed:
            assert shown[file_id] == names[file_id], "the lower id keeps the name"


def test_one_more_file_renames_nobody_but_the_one_whose_name_it_takes() -> None:
    files = [(bytes([9] * 16), "Ventes.ecf"), (bytes([7] * 16), "ventes.ECF")]
    before = unique_names(files)
    assert before == {files[1][0]: "ventes.ECF", files[0][0]: "Ventes (09090909).ecf"}
    higher = unique_names([*files, (bytes([10] * 16), "VENTES.ecf")])
    assert before.items() <= higher.items()
    lower = unique_names([*files, (bytes(16), "VENTES.ecf")])
    assert lower[files[0][0]] == before[files[0][0]]
    assert lower[files[1][0]] == "ventes (07070707).ECF"


def test_a_file_named_like_another_ones_way_out_does_not_get_it() -> None:
    victim, intruder, other = bytes([2] * 16), bytes([1] * 16), bytes(16)
    digits = victim.hex()
    names = unique_names(
        [
            (other, "a.ecf"),
            (victim, "a.ecf"),
            (intruder, f"a ({digits[:8]}).ecf"),
            (bytes([3] * 16), f"a ({digits}).ecf"),
        ]
    )
    assert names[victim] == f"a ({digits} 2).ecf"


def test_a_name_that_is_refused_is_shown_by_its_id_with_a_safe_extension() -> None:
    file_id = bytes.fromhex("deadbeef" * 4)
    assert unique_names([(file_id, "../Ventes.ecf")]) == {file_id: "unnamed-deadbeef.ecf"}
    assert unique_names([(file_id, "a/b.\u202eexe")]) == {file_id: "unnamed-deadbeef"}
    assert unique_names([(file_id, "CON")]) == {file_id: "unnamed-deadbeef"}


def test_a_long_name_leaves_room_for_the_mark() -> None:
    name = "é" * 98 + ".ecf"
    shown = unique_names([(bytes(16), name), (bytes([1] * 16), name)])
    assert shown[bytes([1] * 16)].endswith("é (01010101).ecf")


@given(ANY_TEXT | LIKELY)
def test_any_mandate_name_gives_an_allowed_folder_name(name: str) -> None:
    folder = safe_folder_name(name)
    check_name(folder)
    if allowed(name) and len(name.encode()) < NAME_BYTES_MAX:
        assert folder == name


def test_folder_names_stay_readable() -> None:
    assert safe_folder_name("Müller: S.A. / 2026.") == "Müller_ S.A. _ 2026"
    assert safe_folder_name("con") == "con_"
    assert safe_folder_name("   ") == "_"
    assert safe_folder_name("~1") == "~1_"
