"""Texts for people, in their language: English templates are the keys, ``fr.json`` the French.

A template is plain text with ``{name}`` places. Only templates are translated, never filled text,
so that what comes from files and peers stays as it is; what the operating system gives as a cause
is translated as a whole.
"""

import json
import os
import re
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from importlib import resources
from typing import Any

from p2psync.i18n import system

LANGUAGES = ("en", "fr")

_PLACE = re.compile(r"\{(\w+)(?:!r)?\}")
_language: ContextVar[str] = ContextVar("p2psync_language", default="en")


@lru_cache(maxsize=len(LANGUAGES))
def catalogue(language: str) -> Mapping[str, str]:
    """Return the translations into ``language``; empty for English."""
    if language == "en" or language not in LANGUAGES:
        return {}
    text = resources.files(__package__).joinpath(f"{language}.json").read_text("utf-8")
    entries: dict[str, str] = json.loads(text)
    return entries


def translate(template: str, language: str) -> str:
    """Return the template in ``language``, or the template itself when it has no translation."""
    return catalogue(language).get(template, template)


def fill(template: str, params: Mapping[str, object]) -> str:
    """Fill the ``{name}`` places, ``{name!r}`` in quotes; a place without a parameter stays.

    Total: never raises.
    """

    def filled(place: re.Match[str]) -> str:
        if place[1] not in params:
            return place[0]
        value = str(params[place[1]])
        return repr(value) if place[0].endswith("!r}") else value

    return _PLACE.sub(filled, template)


def tell(template: str, params: Mapping[str, object], language: str) -> str:
    """Return the template in ``language``, filled.

    A parameter called ``cause`` that is what the operating system says is translated, too.
    """
    cause = params.get("cause")
    if isinstance(cause, str) and cause in system.CAUSE_TEXTS.values():
        params = {**params, "cause": translate(cause, language)}
    return fill(translate(template, language), params)


def places(template: str) -> frozenset[str]:
    """Return the names of the places in a template."""
    return frozenset(_PLACE.findall(template))


def set_language(language: str) -> None:
    """Choose the language of this context for ``_``."""
    _language.set(language if language in LANGUAGES else "en")


def language() -> str:
    """Return the language that ``_`` answers in."""
    return _language.get()


def _(template: str, **params: object) -> str:
    """Return the template in the context's language with its places filled."""
    return fill(translate(template, _language.get()), params)


def ngettext(one: str, many: str, count: int, **params: object) -> str:
    """Return ``one`` or ``many`` by ``count``, translated; ``{count}`` is filled.

    English takes the singular for 1 only, French for 0 too.
    """
    single = count == 1 or (count == 0 and _language.get() == "fr")
    return _(one if single else many, count=count, **params)


def localise(value: Any, language: str) -> Any:
    """Return a JSON-able value with every text in it that has a template put into ``language``.

    Such a text is ``{"text": English, "template": …, "params": {…}, …}``; the template and the
    parameters are left out of the answer. A ``cause`` becomes plain text: such a text, or a
    template without places.
    """
    match value:
        case {"text": str(), "template": str(template), "params": dict(params)}:
            rest = {
                name: localise(item, language)
                for name, item in value.items()
                if name not in ("text", "template", "params")
            }
            return {**rest, "text": tell(template, params, language)}
        case dict():
            return {
                name: _cause(item, language) if name == "cause" else localise(item, language)
                for name, item in value.items()
            }
        case list() | tuple():
            return [localise(item, language) for item in value]
        case _:
            return value


def _cause(value: Any, language: str) -> Any:
    match value:
        case str():
            return translate(value, language)
        case {"text": str()}:
            return localise(value, language)["text"]
        case _:
            return localise(value, language)


def language_of(locale_name: str) -> str | None:
    """Return the language of a name such as ``fr_CH.UTF-8`` or ``fr-CH``; None if not spoken."""
    short = re.split(r"[-_.@]", locale_name.strip().lower(), maxsplit=1)[0]
    return short if short in LANGUAGES else None


def environment_language(environment: Mapping[str, str] | None = None) -> str:
    """Return the language that the environment asks for; English when it asks for none."""
    values = os.environ if environment is None else environment
    for name in ("P2PSYNC_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if values.get(name):
            return language_of(values[name]) or "en"
    return "en"


def accepted_language(header: str) -> str:
    """Return the language that an ``Accept-Language`` header prefers (RFC 9110, 12.5.4)."""
    best, best_quality = "en", 0.0
    for part in header[:1000].split(","):
        tag, _separator, parameter = part.partition(";")
        found = language_of(tag)
        quality = 1.0
        if parameter.strip().startswith("q="):
            try:
                quality = float(parameter.strip()[2:])
            except ValueError:
                quality = 0.0
        if found is not None and quality > best_quality:
            best, best_quality = found, quality
    return best
