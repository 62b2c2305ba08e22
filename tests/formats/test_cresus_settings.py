"""Settings, lists of exchange files, and the checks that need the settings."""

import datetime
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.formats.checks import check, settings_for
from p2psync.formats.cresus_list import ListedFile, read_list
from p2psync.formats.cresus_settings import Settings, read_settings
from p2psync.formats.registry import by_name
from tests.formats.files import CRP, ECC, EXAMPLES, HEADER, SAMPLES, V1, posting

YEAR = (datetime.date(2025, 1, 1), datetime.date(2025, 12, 31))
CRP_FILES = [("atelier", CRP, 10)] + [
    ("demo", path.read_bytes(), 11) for path in sorted(SAMPLES.rglob("demo_2025.crp"))
]


@pytest.mark.parametrize(("name", "data", "accounts"), CRP_FILES, ids=[f[0] for f in CRP_FILES])
def test_settings_hold_the_accounts_and_vat_codes(name: str, data: bytes, accounts: int) -> None:
    settings = read_settings(data)
    assert settings.period == YEAR
    assert len(settings.accounts) == accounts
    assert len(settings.vat_codes) == 2
    assert "\\" not in repr(settings), "the PATHS section must not show"
    document = by_name("cresus-crp").parse(data)
    assert (document.period, document.problems, document.mergeable) == (YEAR, (), False)


def test_settings_are_decoded() -> None:
    settings = read_settings(CRP)
    assert settings.title == "Atelier Rivage Sàrl"
    assert settings.accounts["1170"] == "Impôt préalable"
    code = settings.vat_codes["TVR"]
    assert (code.rate, code.account) == (Decimal("8.1"), "2200")
    assert code.comment == "Ventes de l'atelier. Taux normal."


def test_a_value_over_several_lines_is_not_taken_for_keys() -> None:
    hostile = CRP.replace(
        b"COMMENT=Imp", b"COMMENT=a\r\r\nEND=TVACODES\r\r\nNAME=Wrong\r\r\nNUM=1\r\nX=Imp"
    )
    settings = read_settings(hostile)
    assert list(settings.vat_codes) == ["TVR", "TMA"]
    assert settings.vat_codes["TMA"].comment.startswith("a")
    assert len(settings.accounts) == 10


def test_paths_are_never_read_even_when_they_look_like_keys() -> None:
    secret = CRP.replace(
        b"BEGIN=PATHS\r\n",
        b"BEGIN=PATHS\r\nTITLE=secret\r\nBEGIN=COMPTES\r\nENTRY\r\nNUM=9\r\nNAME=secret\r\n",
    )
    assert "secret" not in repr(read_settings(secret))
    assert len(read_settings(secret).accounts) == 10
    endless = CRP.replace(b"END=PATHS", b"secret=1")
    assert read_settings(endless).accounts == {}


@pytest.mark.parametrize(
    ("data", "codes"),
    [
        (b"", ["empty", "no-period"]),
        (CRP[:-4], ["truncated-tail"]),
        (CRP.replace(b"DATEEND=31.12.2025", b"DATEEND=31.12.2024"), ["no-period"]),
        (CRP + b"\r\n", []),
    ],
)
def test_what_is_amiss_with_settings_is_named(data: bytes, codes: list[str]) -> None:
    assert [p.code for p in by_name("cresus-crp").parse(data).problems] == codes


@given(st.integers(0, len(CRP)), st.integers(0, 80), st.binary(max_size=40))
def test_damaged_settings_never_raise(start: int, length: int, piece: bytes) -> None:
    settings = read_settings(CRP[:start] + piece + CRP[start + length :])
    assert all(number.isprintable() for number in settings.accounts)


@given(st.binary())
def test_any_bytes_read_as_settings_and_list(data: bytes) -> None:
    read_settings(data)
    read_list(data)


def test_the_list_names_the_files_beside_the_accounting() -> None:
    """B-MAN-3."""
    assert read_list(ECC) == [
        ("invoicing", "atelier_2025_v2.ecf", "4711"),
        ("payroll", "atelier_2025.ecs", "4712"),
    ]
    for path in sorted(SAMPLES.rglob("demo_2025.ecc")):
        assert [kind for kind, _, _ in read_list(path.read_bytes())] == ["invoicing", "payroll"]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        (b"..\\..\\other.ecf", "other.ecf"),
        (b"C:\\Data\\a.ecf", "a.ecf"),
        (b"/etc/a.ecf", "a.ecf"),
        (b"one; two.ecf", "one; two.ecf"),
        (b"..", None),
        (b"a/", None),
        (b"", None),
        (b"C:a.ecf", None),
        (b"x" * 300, None),
    ],
)
def test_a_listed_name_cannot_reach_another_folder(name: bytes, read: str | None) -> None:
    found = read_list(b"#ECF\t1; 31/03/2025 16:40:30; " + name + b"; 5\r\n")
    assert found == ([] if read is None else [ListedFile("invoicing", read, "5")])


def test_the_list_is_bounded() -> None:
    assert len(read_list(b"#ECF\t1; x; a.ecf; 5\r\n" * 3_000)) == 1_000


# -- checks (B-POS-8) -------------------------------------------------------------------------


def test_the_examples_fit_their_settings() -> None:
    for settings in [EXAMPLES / "atelier_2025.crp", *sorted(SAMPLES.rglob("demo_2025.crp"))]:
        year = read_settings(settings.read_bytes())
        for path in sorted(settings.parent.glob("*.ec[fs]")):
            assert check(by_name("cresus-ecf").parse(path.read_bytes()), [year]) == ()


@pytest.mark.parametrize(
    ("line", "codes"),
    [
        (posting(), []),
        (posting(date="01.01.2026"), ["no-period"]),
        (posting(date="nonsense"), []),
        (posting(debit="9999"), ["unknown-account"]),
        (posting(debit="9999", credit=""), ["unknown-account"] * 2),
        (posting(vat="XYZ"), ["unknown-vat-code"]),
        (posting(vat="TVR"), []),
        (posting(credit="..."), []),
    ],
)
def test_a_record_that_fits_no_settings_is_a_problem_of_its_line(
    line: bytes, codes: list[str]
) -> None:
    document = by_name("cresus-ecf").parse(V1 + line)
    problems = check(document, [read_settings(CRP)])
    assert [p.code for p in problems] == codes
    assert {p.line for p in problems} <= {10}
    assert all(p.text for p in problems)


def test_a_record_is_held_against_the_year_of_its_date() -> None:
    last = Settings(period=(datetime.date(2024, 1, 1), datetime.date(2024, 12, 31)))
    years = [last, replace(read_settings(CRP), accounts={"1": "x"})]
    assert settings_for(datetime.date(2024, 5, 5), years) is last
    assert settings_for(datetime.date(2023, 5, 5), years) is None
    assert settings_for(None, years) is None
    document = by_name("cresus-ecf").parse(
        HEADER + posting(date="05.05.2024") + posting(voucher="R-2")
    )
    problems = check(document, years)
    assert [(p.code, p.line) for p in problems] == [("unknown-account", 4)] * 2
    assert check(document, []) == ()


def test_a_voucher_that_is_used_twice_with_the_same_accounts_is_told() -> None:
    invoice, payment = posting(), posting(debit="1020", credit="1100")
    again = posting(amount="11.00", idno="2")
    document = by_name("cresus-ecf").parse(HEADER + invoice + payment + again)
    (problem,) = check(document, [])
    assert (problem.code, problem.line) == ("duplicate-voucher", HEADER.count(b"\n") + 3)
    assert "'R-1'" in problem.text
    nameless = by_name("cresus-ecf").parse(HEADER + posting(voucher="") * 2)
    assert check(nameless, []) == ()
