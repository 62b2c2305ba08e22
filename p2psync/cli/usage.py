"""Turns typer's complaints about a command line into ours, in the reader's language."""

from typing import Any

from p2psync.errors import UsageError
from p2psync.i18n import _


class CommandLineError(UsageError):
    """The command line does not parse."""

    template = "{cause}"
    hint_template = "see: {command} --help"


def usage_error(error: Any) -> UsageError:
    """Return our error for one of typer's (by the names of its classes, which it keeps private)."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "p2psync"
    return CommandLineError(cause=_cause(error), command=command)


def _cause(error: Any) -> str:
    message = str(error.format_message())
    param = getattr(error, "param", None)
    match type(error).__name__:
        case "MissingParameter" if param is not None:
            return _("{name} is missing", name=_name(param))
        case "NoSuchOption":
            return _("there is no option {name}", name=error.option_name)
        case "BadParameter" if param is not None:
            return _(
                "the value of {name} is not right: {cause}", name=_name(param), cause=error.message
            )
        case "BadOptionUsage":
            return _(
                "the option {name} is not used right: {cause}",
                name=error.option_name,
                cause=error.message,
            )
        case _ if message.startswith("No such command "):
            name, _point, rest = message[len("No such command ") :].partition("'.")
            close = rest.partition("Did you mean ")[2].rstrip("?").replace("'", "")
            name = name.strip("'\".")
            if close:
                return _(
                    "there is no command {name}; did you mean {close}?", name=name, close=close
                )
            return _("there is no command {name}", name=name)
        case _ if message.startswith("Missing command"):
            return _("the command is missing")
        case _ if message.startswith("Got unexpected extra argument"):
            words = message.partition("(")[2].rpartition(")")[0] or message
            return _("there is something too much: {words}", words=words)
        case _:
            return message


def _name(param: Any) -> str:
    if param.param_type_name == "argument":
        return str(param.metavar or param.name)
    return "/".join(param.opts)
