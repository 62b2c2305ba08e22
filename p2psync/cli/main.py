"""Runs one command line: chooses language and home, and turns every end into an exit code."""

import gc
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from p2psync import errors
from p2psync.cli.foreground import plain_node_run, run_node
from p2psync.cli.settings import Settings, default_home, use
from p2psync.i18n import (
    LANGUAGES,
    _,
    environment_language,
    language,
    language_of,
    set_language,
    tell,
)

INTERRUPTED_EXIT_CODE = 130

_SHARED_FLAGS = ("--json",)
_SHARED_VALUES = ("--home", "--lang")


def main() -> NoReturn:
    """Run the command line of this process and end it."""
    gc.disable()  # what imports make stays: nothing in it is to be collected
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        _silence_stdout()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; raises nothing."""
    args = hoist(list(arguments))
    as_json = "--json" in args[: _shared_length(args)]
    try:
        use(_settings(args, as_json))
        plain = plain_node_run(args[_shared_length(args) :])
        return _invoke(args or ["--help"]) if plain is None else run_node(plain)
    except errors.P2PSyncError as error:
        return _report(error, as_json)
    except (KeyboardInterrupt, EOFError):
        return INTERRUPTED_EXIT_CODE
    except BrokenPipeError:
        _silence_stdout()
        return 0
    except Exception as error:
        import traceback

        if not as_json:
            traceback.print_exc()
        return _report(errors.P2PSyncError(cause=f"{type(error).__name__}: {error}"), as_json)


def hoist(args: list[str]) -> list[str]:
    """Move the options that every command shares to the front, from wherever they stand.

    People type ``p2psync status --json`` as often as ``p2psync --json status``. What follows
    ``--`` stays.
    """
    end = args.index("--") if "--" in args else len(args)
    front: list[str] = []
    rest: list[str] = []
    words = iter(args[:end])
    for word in words:
        if word in _SHARED_FLAGS or word.startswith(tuple(f"{name}=" for name in _SHARED_VALUES)):
            front.append(word)
        elif word in _SHARED_VALUES:
            value = next(words, None)
            front += [word] if value is None else [f"{word}={value}"]
        else:
            rest.append(word)
    return front + rest + args[end:]


def _shared_length(args: list[str]) -> int:
    for index, word in enumerate(args):
        if word.partition("=")[0] not in _SHARED_FLAGS + _SHARED_VALUES:
            return index
    return len(args)


def _settings(args: list[str], as_json: bool) -> Settings:
    values = dict(word.split("=", 1) for word in args[: _shared_length(args)] if "=" in word)
    chosen = environment_language()
    set_language(chosen)
    if "--lang" in values:
        found = language_of(values["--lang"])
        if found is None:
            raise errors.UsageError(
                cause=_(
                    "{lang} is not spoken here: write {languages}",
                    lang=values["--lang"],
                    languages=", ".join(LANGUAGES),
                )
            )
        chosen = found
        set_language(chosen)
    home = Path(values["--home"]) if values.get("--home") else default_home()
    return Settings(Path(os.path.abspath(home.expanduser())), as_json, chosen)


def _invoke(args: list[str]) -> int:
    import typer

    from p2psync.cli.app import app

    gc.enable()
    command = typer.main.get_command(app)
    try:
        result: Any = command.main(args, prog_name="p2psync", standalone_mode=False)
    except typer.Abort:
        return INTERRUPTED_EXIT_CODE
    except typer.TyperException as error:
        from p2psync.cli.usage import usage_error

        raise usage_error(error) from None
    return result if isinstance(result, int) else 0


def _report(error: errors.P2PSyncError, as_json: bool) -> int:
    from p2psync.cli.client import NodeError

    code, exit_code = error.code, error.exit_code
    if isinstance(error, NodeError):
        code, exit_code = error.node_code, error.node_exit_code
    text = tell(error.template, error.params, language())
    hint = tell(error.hint_template, error.params, language())
    if as_json:
        lines = json.dumps({"error": {"code": code, "text": text, "hint": hint}})
    else:
        from p2psync.cli.output import safe

        shown = "\n".join(safe(line) for line in text.splitlines())
        lines = f"{_('error:')} {shown}" + (f"\n{safe(hint)}" if hint else "")
    try:
        encoding = sys.stderr.encoding or "utf-8"
        sys.stderr.write(lines.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stderr.flush()
    except OSError:
        # Nobody reads the error: the exit code still tells.
        return exit_code
    return exit_code


def _silence_stdout() -> None:
    # The interpreter flushes standard output once more at its end.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
