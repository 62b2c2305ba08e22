"""The tree of commands: typer's classes with translated help, and groups with a default command."""

import re
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from p2psync.cli.values import use_plain_values
from p2psync.i18n import _, language

Function = TypeVar("Function", bound=Callable[..., Any])

_BLANK = re.compile(r"\s*\n\s*")


def _translated(text: str) -> str:
    return _(_BLANK.sub(" ", text.strip()))


def help_texts(command: Any) -> list[str]:
    """Return every text that the help of a command shows, in English, as it is looked up."""
    texts = [command.help or "", *(getattr(param, "help", None) or "" for param in command.params)]
    return [_BLANK.sub(" ", text.strip()) for text in texts if text]


def _help(command: TyperCommand | TyperGroup, ctx: Any, standard: Callable[[Any], str]) -> str:
    """Return typer's help with every text, heading and example in the reader's language."""
    english: list[tuple[Any, str | None, str | None]]
    english = [(command, command.help, command.epilog)]
    english += [(param, param.help, None) for param in command.params if hasattr(param, "help")]
    if isinstance(command, TyperGroup):
        english += [(sub, sub.help, None) for sub in command.commands.values()]
    try:
        for thing, text, _example in english:
            if text:
                thing.help = _translated(text)
        if command.epilog:
            lines = "\n".join(f"  {line}" for line in command.epilog.splitlines())
            command.epilog = f"\b\n{_('Example:')}\n{lines}"
        return _headings(standard(ctx))
    finally:
        for thing, text, example in english:
            thing.help = text
            if thing is command:
                command.epilog = example


def _headings(text: str) -> str:
    if language() == "en":
        return text
    for heading in ("Usage:", "Options:", "Arguments:", "Commands:"):
        text = re.sub(rf"^{heading}", _headings_of()[heading], text, flags=re.MULTILINE)
    for phrase, translated in _phrases().items():
        text = text.replace(phrase, translated)
    return text


def _headings_of() -> dict[str, str]:
    return {
        "Usage:": _("Usage:"),
        "Options:": _("Options:"),
        "Arguments:": _("Arguments:"),
        "Commands:": _("Commands:"),
    }


def _phrases() -> dict[str, str]:
    return {
        "Show this message and exit.": _("Show this message and exit."),
        "[required]": _("[required]"),
        "[default: ": _("[default: "),
        "[env var: ": _("[env var: "),
    }


class Command(TyperCommand):
    """A command whose help is translated."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments without loading what typer would."""
        use_plain_values(self, ctx)
        return super().parse_args(ctx, args)

    def get_help(self, ctx: Any) -> str:
        """Return the help in the reader's language."""
        return _help(self, ctx, super().get_help)


class Group(TyperGroup):
    """A group whose help is translated."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments without loading what typer would."""
        use_plain_values(self, ctx)
        return super().parse_args(ctx, args)

    def get_help(self, ctx: Any) -> str:
        """Return the help in the reader's language."""
        return _help(self, ctx, super().get_help)


class GroupWithDefault(Group):
    """A group that takes anything but the name of a command as arguments of its default one.

    So ``invite MANDATE`` and ``invite list MANDATE`` both parse. A mandate that is called like a
    command is reached by its id, or with the default command's own name.
    """

    default: ClassVar[str] = "create"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command's name before arguments that name no command."""
        own = {"--help", "-h"}
        if args and args[0] not in self.commands and args[0] not in own:
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def new_group(**options: Any) -> typer.Typer:
    """Return an empty group."""
    options.setdefault("cls", Group)
    return typer.Typer(
        rich_markup_mode=None,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        **options,
    )


def command(
    group: typer.Typer, name: str, *, example: str, hidden: bool = False
) -> Callable[[Function], Function]:
    """Add a function to a group as a command; ``example`` is shown by its help, untranslated."""
    return group.command(name, cls=Command, epilog=example, hidden=hidden)
