"""The format that a user chooses for a file: by its name, or by a definition."""

from p2psync.errors import FormatUnknown
from p2psync.formats import registry  # which imports this module, too
from p2psync.formats.base import Format
from p2psync.formats.definition import FAMILY, read_toml
from p2psync.formats.opaque import OPAQUE


def chosen(text: str) -> Format:
    """Gives the format of that name, or that a definition in TOML makes.

    Raises ``FormatUnknown``, and ``DefinitionSyntax``, ``DefinitionInvalid`` or
    ``DefinitionTooLong`` for what has an ``=``, as only a definition has.
    """
    name = text.strip()
    form = registry.by_name(name)
    if (form is not OPAQUE and name != FAMILY) or name == OPAQUE.name:
        return form
    if "=" in text:
        return registry.by_name(read_toml(text).format_name)
    names = [form.name for form in registry.all_formats() if form.name != FAMILY]
    raise FormatUnknown(name=name[:80], names=", ".join(names))
