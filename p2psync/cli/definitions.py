"""Reads the definition of a delimited text, a TOML file, and what ``--format`` names."""

from p2psync import errors
from p2psync.cli.inputs import absolute
from p2psync.i18n import _
from p2psync.limits import DEFINITION_BYTES_MAX

_SUFFIX = ".toml"


def format_text(text: str | None) -> str | None:
    """Return what the node takes for a format: a name as it is, of a TOML file the content."""
    if text is None or not text.lower().endswith(_SUFFIX):
        return text
    return read_definition(text)


def read_definition(path: str) -> str:
    """Return the content of a definition; raises ``InputUnreadable``, and what ``read_toml`` does
    with the file's name: a node that reads it once more does not know that.
    """
    try:
        with open(absolute(path), "rb") as file:
            content = file.read(DEFINITION_BYTES_MAX + 1)
    except OSError as error:
        raise errors.InputUnreadable(path=path, cause=error.strerror or error) from None
    if len(content) > DEFINITION_BYTES_MAX:
        raise errors.InputUnreadable(path=path, cause=_("it is too long for a definition"))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise errors.InputUnreadable(path=path, cause=_("it is not UTF-8 text")) from None
    if "=" not in text:
        raise errors.InputUnreadable(path=path, cause=_("it defines nothing"))
    text = text.replace("\r\n", "\n")
    from p2psync.formats.definition import read_toml

    read_toml(text, path)
    return text
