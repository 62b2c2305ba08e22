"""Definitions of delimited text: what is right, what is wrong and where, one name a meaning."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.core.ops import AddFile, decode, encode
from p2psync.errors import DefinitionInvalid, DefinitionSyntax, DefinitionTooLong, FormatUnknown
from p2psync.formats import registry
from p2psync.formats.choice import chosen
from p2psync.formats.definition import DEFINITION_TEXTS, ENCODINGS, read_name, read_toml
from p2psync.formats.opaque import OPAQUE
from p2psync.limits import FORMAT_NAME_BYTES_MAX
from tests.formats.files import EXAMPLES

EXAMPLE = (EXAMPLES / "kassenbuch.toml").read_text("utf-8")
LEAST = 'name = "x"\ndelimiter = ";"\ncolumns = ["date", "amount"]\n'
SIDE = '[side]\ndebit = ["S"]\ncredit = ["H"]\n'


def test_a_definition_is_its_format_s_name_and_back() -> None:
    definition = read_toml(EXAMPLE)
    name = definition.format_name
    assert name == (
        'delimited:{"columns":["date","voucher","account","text","side","amount","vat_code",""],'
        '"date_format":"DD.MM.YYYY","decimal":",","delimiter":";","encoding":"windows-1252",'
        '"group":["date","voucher"],"header_lines":2,"name":"Kasse 3000",'
        '"side":{"credit":["H"],"debit":["S"]},"skip":["Total"],"suffixes":[".txt"]}'
    )
    assert read_name(name.partition(":")[2]) == definition
    form = registry.by_name(name)
    assert form.name == name
    assert form.title == "Delimited text (Kasse 3000)"
    assert chosen(EXAMPLE) is form
    assert chosen(name) is form


def test_what_is_the_default_is_no_part_of_the_name() -> None:
    plain = read_toml(LEAST)
    said = LEAST + 'quote = "\\""\nencoding = "UTF-8"\ndecimal = "."\ntext = ["text"]\n'
    assert read_toml(said.replace('"amount"]', '"amount", "text"]')) != plain
    assert read_toml(said.replace('text = ["text"]\n', "")).format_name == plain.format_name


@pytest.mark.parametrize(
    ("text", "line", "key", "code"),
    [
        (LEAST + "colour = 1\n", 4, "colour", "unknown"),
        (LEAST.replace('name = "x"\n', ""), 1, "name", "missing"),
        (LEAST.replace('"x"', "3"), 1, "name", "text"),
        (LEAST.replace('"x"', '""'), 1, "name", "name"),
        (LEAST.replace('"x"', '"a\\tb"'), 1, "name", "name"),
        (LEAST.replace('";"', '"ab"'), 2, "delimiter", "delimiter"),
        (LEAST.replace('";"', '"é"'), 2, "delimiter", "delimiter"),
        (LEAST.replace('";"', '"\\n"'), 2, "delimiter", "delimiter"),
        (LEAST + 'encoding = "utf-16"\n', 4, "encoding", "encoding"),
        (LEAST + 'quote = ";"\n', 4, "quote", "quote"),
        (LEAST + 'decimal = ";"\n', 4, "decimal", "decimal"),
        (LEAST.replace('";"', '","') + 'decimal = ","\n', 4, "decimal", "decimal"),
        (LEAST + "header_lines = -1\n", 4, "header_lines", "lines"),
        (LEAST + "header_lines = true\n", 4, "header_lines", "lines"),
        (LEAST + "more_columns = 1\n", 4, "more_columns", "boolean"),
        (LEAST + "columns_min = 3\n", 4, "columns_min", "columns-min"),
        (LEAST.replace('"amount"]', '"Betrag"]'), 3, "columns", "columns"),
        (LEAST.replace('"amount"]', '"amount", "date"]'), 3, "columns", "twice"),
        (LEAST.replace('["date", "amount"]', '"date"'), 3, "columns", "texts"),
        (LEAST.replace('"date", ', ""), 3, "columns", "date"),
        (LEAST.replace("amount", "debit_amount"), 3, "columns", "amount"),
        (LEAST.replace('"amount"', '"amount", "debit_amount"'), 3, "columns", "amounts"),
        (LEAST.replace('"amount"', '"amount", "debit"'), 3, "columns", "accounts"),
        (LEAST.replace('"date"', '"date", "debit", "credit", "account"'), 3, "columns", "accounts"),
        (LEAST + SIDE, 4, "side", "side-column"),
        (LEAST.replace('"date"', '"date", "side"'), 1, "side", "side-column"),
        (LEAST + '[side]\ndebit = ["S"]\n', 4, "side", "side"),
        (LEAST + 'key = ["voucher"]\n', 4, "key", "not-column"),
        (LEAST + 'group = ["voucher"]\n', 4, "group", "not-column"),
        (LEAST + 'date_format = "DD.MM"\n', 4, "date_format", "date-format"),
        (LEAST + 'date_format = "YYYY-MM-DD HH"\n', 4, "date_format", "date-format"),
        (LEAST + 'suffixes = ["*.txt"]\n', 4, "suffixes", "suffix"),
        (LEAST + 'skip = [""]\n', 4, "skip", "empty-text"),
        (LEAST + 'many = ""\n', 4, "many", "empty-text"),
    ],
)
def test_a_fault_is_told_with_its_line_and_key(text: str, line: int, key: str, code: str) -> None:
    with pytest.raises(DefinitionInvalid) as caught:
        read_toml(text)
    assert caught.value.template == DEFINITION_TEXTS[code]
    assert caught.value.params == {
        "file": "definition.toml",
        "line": str(line),
        "key": key,
    }
    assert f"line {line}, {key}: " in caught.value.text


def test_what_is_no_toml_tells_where() -> None:
    with pytest.raises(DefinitionSyntax) as caught:
        read_toml(LEAST + "x = \n")
    assert "line 4" in caught.value.text


def test_a_definition_that_is_too_long_to_travel_is_refused() -> None:
    columns = ", ".join(f'"column_with_a_long_name_{number}"' for number in range(60))
    with pytest.raises(DefinitionTooLong):
        read_toml(LEAST.replace('"amount"]', f'"amount", {columns}]'))


def test_a_format_is_chosen_by_name_or_definition() -> None:
    assert chosen("fec").name == "fec"
    assert chosen(" opaque\n") is OPAQUE
    for text in ("nonsense", "delimited", "", "delimited:{}"):
        with pytest.raises(FormatUnknown) as caught:
            chosen(text)
        assert "fec" in caught.value.hint


# -- what a peer may send --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameter",
    [
        "",
        "{}",
        "[]",
        "null",
        "[" * 1000,
        '{"name":"x"}',
        '{"columns":["date","amount"],"delimiter":";", "name":"x"}',
        '{"delimiter":";","columns":["date","amount"],"name":"x"}',
        '{"columns":["date","amount"],"delimiter":";","name":"x","quote":"\\""}',
        '{"columns":["date","amount"],"delimiter":";","name":"\\u0078"}',
        '{"columns":["date","amount"],"delimiter":";","name":"\\ud800"}',
        '{"columns":["date","amount"],"delimiter":";","name":"x","name":"y"}',
        '{"columns":["date","amount"],"delimiter":";","header_lines":1e999,"name":"x"}',
        '{"columns":["date","amount"],"delimiter":";","name":"%s"}' % ("x" * 2000),
    ],
)
def test_a_name_in_another_form_is_opaque(parameter: str) -> None:
    """One meaning has one name, and what is none is kept whole."""
    assert read_name(parameter) is None
    assert registry.by_name(f"delimited:{parameter}") is OPAQUE


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
_keys = st.sampled_from(list(json.loads(read_toml(EXAMPLE).format_name.partition(":")[2])))


@given(st.one_of(st.text(max_size=80), _json.map(json.dumps)))
def test_any_name_is_read_or_opaque(parameter: str) -> None:
    form = registry.by_name(f"delimited:{parameter}")
    assert form is OPAQUE or form.name == f"delimited:{parameter}"


@given(_keys, _json)
def test_any_value_of_a_key_is_right_or_refused(key: str, value: object) -> None:
    table = json.loads(read_toml(EXAMPLE).format_name.partition(":")[2]) | {key: value}
    text = json.dumps(table, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    definition = read_name(text)
    assert definition is None or definition.format_name == f"delimited:{text}"


@given(
    st.sampled_from(ENCODINGS),
    st.sampled_from(["tab", ";", "|", ","]),
    st.sampled_from(["", "'", '"']),
    st.sampled_from(["YYYYMMDD", "D.M.YY", "MM/DD/YYYY", "YYYY-MM-DD"]),
    st.lists(st.sampled_from(["text", "voucher", "debit", "credit", "-"]), max_size=5, unique=True),
)
def test_what_is_right_in_toml_has_a_name_that_is_read(
    encoding: str, delimiter: str, quote: str, date_format: str, columns: list[str]
) -> None:
    if ("debit" in columns) != ("credit" in columns):
        columns = [name for name in columns if name not in ("debit", "credit")]
    text = (
        f'name = "x"\nencoding = "{encoding}"\ndelimiter = "{delimiter}"\n'
        f"quote = {json.dumps(quote)}\ndate_format = {json.dumps(date_format)}\n"
        f"columns = {json.dumps(['date', 'amount', *columns])}\n"
    )
    definition = read_toml(text)
    assert read_name(definition.format_name.partition(":")[2]) == definition


def test_the_name_travels_with_the_operation_that_attaches() -> None:
    longest = "delimited:" + "x" * (FORMAT_NAME_BYTES_MAX - len("delimited:"))
    for name in (read_toml(EXAMPLE).format_name, longest):
        add = AddFile(b"f" * 16, "a", "other", name, "/a", None, None, None)
        assert decode(encode([add])) == (add,)
