"""What a user says of a delimited text file, in TOML, so that it is read record by record.

The definition's canonical form, JSON with sorted keys and without what is the default, is the name
of the format after ``delimited:``. So it travels with the operation that attaches a file, and means
the same on every device. Nothing in it is run: there are no patterns and no expressions.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from p2psync.errors import DefinitionInvalid, DefinitionSyntax, DefinitionTooLong
from p2psync.limits import FORMAT_NAME_BYTES_MAX

FAMILY = "delimited"
ENCODINGS = (
    "utf-8",
    "windows-1252",
    "windows-1250",
    "iso-8859-1",
    "iso-8859-15",
    "cp437",
    "cp850",
    "mac-roman",
)
"""Each holds ASCII as it is, so that lines can be cut before they are decoded."""
_NAME_CHARS_MAX = 60
_COLUMNS_MAX = 200
_HEADER_LINES_MAX = 100
_COLUMN = re.compile(r"[a-z][a-z0-9_]{0,31}")
_DATE_TOKENS = re.compile(r"YYYY|YY|MM|DD|M|D|[^A-Za-z0-9]")
_SUFFIX = re.compile(r"\.[a-z0-9_-]{1,16}")
_NO_COLUMN = ("", "-")

DEFINITION_TEXTS = {
    "unknown": "{file}, line {line}, {key}: there is no such key",
    "missing": "{file}, line {line}, {key}: it is missing",
    "text": "{file}, line {line}, {key}: it must be a text",
    "texts": "{file}, line {line}, {key}: it must be an array of texts",
    "name": "{file}, line {line}, {key}: it must be 1 to 60 characters that can be printed",
    "delimiter": "{file}, line {line}, {key}: it must be one ASCII character that "
    "is no letter, digit or quote; or tab",
    "encoding": "{file}, line {line}, {key}: it must be utf-8, windows-1252, "
    "windows-1250, iso-8859-1, iso-8859-15, cp437, cp850 or mac-roman",
    "quote": "{file}, line {line}, {key}: it must be one of \" and ', or empty, "
    "and not the delimiter",
    "decimal": "{file}, line {line}, {key}: it must be a point or a comma, and not the delimiter",
    "lines": "{file}, line {line}, {key}: it must be a number from 0 to 100",
    "boolean": "{file}, line {line}, {key}: it must be true or false",
    "columns": "{file}, line {line}, {key}: a name starts with a letter and has "
    "small letters, digits and _, 32 at most; an empty one leaves the "
    "column out; there are 200 at most",
    "twice": "{file}, line {line}, {key}: a column is named twice",
    "date": "{file}, line {line}, {key}: a column must be named date",
    "amount": "{file}, line {line}, {key}: a column must be named amount, or two "
    "debit_amount and credit_amount",
    "amounts": "{file}, line {line}, {key}: amount goes with neither debit_amount "
    "nor credit_amount",
    "accounts": "{file}, line {line}, {key}: debit and credit go together, and "
    "with neither account nor side",
    "side": "{file}, line {line}, {key}: it is a table: debit and credit, each "
    "an array of the texts in the column side",
    "side-column": "{file}, line {line}, {key}: it and a column named side go together",
    "not-column": "{file}, line {line}, {key}: it must name columns of this file",
    "columns-min": "{file}, line {line}, {key}: it must be a number from 1 to that of the columns",
    "date-format": "{file}, line {line}, {key}: it must be made of YYYY or YY, MM or "
    "M, DD or D, each once, and marks between",
    "suffix": "{file}, line {line}, {key}: each must be a point and small "
    "letters or digits, such as .txt",
    "empty-text": "{file}, line {line}, {key}: an empty text is not allowed",
}


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition that was checked; ``columns`` has an empty text for what is left out."""

    name: str
    delimiter: str
    columns: tuple[str, ...]
    encoding: str = "utf-8"
    quote: str = '"'
    decimal: str = "."
    header_lines: int = 0
    date_format: str = "YYYY-MM-DD"
    columns_min: int = 0
    more_columns: bool = False
    many: str = "..."
    side: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    key: tuple[str, ...] = ()
    text: tuple[str, ...] = ("text",)
    identity: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()

    @property
    def format_name(self) -> str:
        """The format's name: the canonical form, which ``read_name`` reads."""
        table: dict[str, object] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "side":
                if value != each.default:
                    table["side"] = {"debit": value[0], "credit": value[1]}
            elif value != each.default:
                table[each.name] = value
        text = json.dumps(table, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return f"{FAMILY}:{text}"


DEFINITION_FILE = "definition.toml"
"""What a definition is called that came without a file's name."""


class _Wrong(Exception):
    """A key's value is not what it must be; ``args`` are the key and a code of the texts."""


def read_toml(text: str, file: str = DEFINITION_FILE) -> Definition:
    """Reads a definition that a user wrote; ``file`` is what errors call it.

    Raises ``DefinitionSyntax``, ``DefinitionInvalid`` with line and key, ``DefinitionTooLong``.
    """
    try:
        text.encode()
        table = tomllib.loads(text)
    except (UnicodeEncodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise DefinitionSyntax(file=file, cause=str(error)) from None
    try:
        definition = _checked(table)
    except _Wrong as wrong:
        key, code = wrong.args
        line = _line_of(text, key)
        raise DefinitionInvalid(DEFINITION_TEXTS[code], file=file, line=line, key=key) from None
    size = len(definition.format_name.encode())
    if size > FORMAT_NAME_BYTES_MAX:
        raise DefinitionTooLong(file=file, size_bytes=size, limit_bytes=FORMAT_NAME_BYTES_MAX)
    return definition


def read_name(parameter: str) -> Definition | None:
    """Reads the canonical form of a definition, from a peer; ``None`` for what is none."""
    if len(parameter) > FORMAT_NAME_BYTES_MAX:
        return None
    try:
        parameter.encode()
        table = json.loads(parameter)
        definition = _checked(table) if isinstance(table, dict) else None
    except (ValueError, RecursionError, _Wrong):
        return None
    if definition is None or definition.format_name != f"{FAMILY}:{parameter}":
        return None
    return definition


def _line_of(text: str, key: str) -> int:
    """Gives the line on which a key stands, or 1."""
    pattern = re.compile(rf"\s*(?:\[\s*)?[\"']?{re.escape(key)}[\"']?\s*[\].=]")
    lines = enumerate(text.splitlines(), 1)
    return next((number for number, line in lines if pattern.match(line)), 1)


# -- checks ----------------------------------------------------------------------------------------


def _checked(table: Mapping[str, object]) -> Definition:
    """Gives the definition that a table is; raises ``_Wrong`` for the first fault."""
    known = {each.name for each in fields(Definition)}
    for key in table:
        if key not in known:
            raise _Wrong(key, "unknown")
    name = _text(table, "name")
    if not (0 < len(name) <= _NAME_CHARS_MAX and name.isprintable() and name.strip() == name):
        raise _Wrong("name", "name")
    columns = _columns(table)
    delimiter = _delimiter(_text(table, "delimiter"))
    quote = _text(table, "quote", '"')
    if quote not in ("", '"', "'") or quote == delimiter:
        raise _Wrong("quote", "quote")
    decimal = _text(table, "decimal", ".")
    if decimal not in (".", ",") or decimal == delimiter:
        raise _Wrong("decimal", "decimal")
    encoding = _text(table, "encoding", "utf-8").lower()
    if encoding not in ENCODINGS:
        raise _Wrong("encoding", "encoding")
    definition = Definition(
        name,
        delimiter,
        columns,
        encoding,
        quote,
        decimal,
        _number(table, "header_lines", 0, _HEADER_LINES_MAX, "lines"),
        _date_format(_text(table, "date_format", "YYYY-MM-DD")),
        _number(table, "columns_min", 0, len(columns), "columns-min"),
        _boolean(table, "more_columns"),
        _text(table, "many", "..."),
        _side(table),
        _named(table, "key", columns),
        _named(table, "text", columns) if "text" in table else ("text",),
        _named(table, "identity", columns),
        _named(table, "group", columns),
        _texts(table, "skip"),
        _texts(table, "suffixes"),
    )
    if any(not _SUFFIX.fullmatch(suffix) for suffix in definition.suffixes):
        raise _Wrong("suffixes", "suffix")
    if not definition.many:
        raise _Wrong("many", "empty-text")
    _check_money(definition)
    return definition


def _columns(table: Mapping[str, object]) -> tuple[str, ...]:
    if "columns" not in table:
        raise _Wrong("columns", "missing")
    columns = tuple("" if each in _NO_COLUMN else each for each in _texts(table, "columns", True))
    named = [each for each in columns if each]
    if len(columns) > _COLUMNS_MAX or any(not _COLUMN.fullmatch(each) for each in named):
        raise _Wrong("columns", "columns")
    if len(set(named)) < len(named):
        raise _Wrong("columns", "twice")
    return columns


def _delimiter(text: str) -> str:
    delimiter = "\t" if text == "tab" else text
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter.isalnum():
        raise _Wrong("delimiter", "delimiter")
    if delimiter in "\"'\r\n" or (delimiter != "\t" and not delimiter.isprintable()):
        raise _Wrong("delimiter", "delimiter")
    return delimiter


def _date_format(text: str) -> str:
    tokens = _DATE_TOKENS.findall(text)
    letters = sorted(token[0] for token in tokens if token[0] in "YMD")
    if "".join(tokens) != text or letters != ["D", "M", "Y"] or len(text) > 20:
        raise _Wrong("date_format", "date-format")
    if not text.isprintable() or "\\" in text:
        raise _Wrong("date_format", "date-format")
    return text


def _side(table: Mapping[str, object]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    value = table.get("side", {})
    if not isinstance(value, Mapping) or not set(value) <= {"debit", "credit"}:
        raise _Wrong("side", "side")
    if "side" in table and set(value) != {"debit", "credit"}:
        raise _Wrong("side", "side")
    sides = tuple(value.get(name, []) for name in ("debit", "credit"))
    if any(not _is_texts(each) or ("side" in table and not each) for each in sides):
        raise _Wrong("side", "side")
    return tuple(sides[0]), tuple(sides[1])


def _check_money(definition: Definition) -> None:
    columns = set(definition.columns)
    if "date" not in columns:
        raise _Wrong("columns", "date")
    pair = {"debit_amount", "credit_amount"}
    if "amount" in columns and pair & columns:
        raise _Wrong("columns", "amounts")
    if "amount" not in columns and not pair <= columns:
        raise _Wrong("columns", "amount")
    accounts = {"debit", "credit"} & columns
    if accounts and (len(accounts) == 1 or columns & {"account", "side", *pair}):
        raise _Wrong("columns", "accounts")
    if any(definition.side) != ("side" in columns) or ("side" in columns and pair & columns):
        raise _Wrong("side", "side-column")


def _text(table: Mapping[str, object], key: str, default: str | None = None) -> str:
    value = table.get(key, default)
    if value is None:
        raise _Wrong(key, "missing")
    if not isinstance(value, str):
        raise _Wrong(key, "text")
    return value


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _texts(table: Mapping[str, object], key: str, may_be_empty: bool = False) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not _is_texts(value):
        raise _Wrong(key, "texts")
    if not may_be_empty and not all(value):
        raise _Wrong(key, "empty-text")
    return tuple(value)


def _named(table: Mapping[str, object], key: str, columns: Sequence[str]) -> tuple[str, ...]:
    names = _texts(table, key)
    if any(name not in columns for name in names):
        raise _Wrong(key, "not-column")
    return names


def _number(table: Mapping[str, object], key: str, first: int, last: int, code: str) -> int:
    value = table.get(key, first)
    if type(value) is not int or not first <= value <= last:
        raise _Wrong(key, code)
    return value


def _boolean(table: Mapping[str, object], key: str) -> bool:
    value = table.get(key, False)
    if type(value) is not bool:
        raise _Wrong(key, "boolean")
    return value
