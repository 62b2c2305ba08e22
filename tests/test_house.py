"""The rules of the house that can be checked by reading the files."""

import ast
import inspect
import re
import string
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2psync import errors
from tests.longest import LONGEST

ROOT = Path(__file__).resolve().parent.parent
LOCKS = (
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-bench.lock",
    "requirements-build.lock",
)
PRODUCT = ("p2psync", "scripts", "docs", ".ci")
TEXTS = {".py", ".md", ".toml", ".lock", ".sh", ".html", ".js", ".css", ".json", ".txt", ""}

WAYS_TO_SKIP = {"skip", "skipif", "xfail", "importorskip", "skipTest", "SkipTest", "skipUnless"}
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(work|root|tmp/[a-z])(/|\b)")
INDEX_HOST = re.compile(r"\b(test\.)?pypi\.org|pythonhosted|file:///", re.IGNORECASE)


def modules(folder: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        yield str(path.relative_to(ROOT)), ast.parse(path.read_bytes())


def product_files() -> Iterator[Path]:
    # In a linked worktree .git is a file, and names where the repository is.
    here = (path for path in sorted(ROOT.iterdir()) if path.is_file() and path.name != ".git")
    yield from here
    for folder in PRODUCT:
        yield from (path for path in sorted((ROOT / folder).rglob("*")) if path.is_file())


def product_lines() -> Iterator[tuple[str, str]]:
    """Give ``(place, line)`` for each line of each text file that makes up the product."""
    for path in product_files():
        if path.suffix in TEXTS and "__pycache__" not in path.parts:
            for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
                yield f"{path.relative_to(ROOT)}:{number}", line


def error_classes() -> list[type[errors.P2PSyncError]]:
    return [
        value
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, errors.P2PSyncError) and not name.startswith("_")
    ]


def canonical(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def locked(lock: str) -> set[str]:
    lines = (ROOT / lock).read_text("utf-8").splitlines()
    return {canonical(line) for line in lines if re.match(r"[A-Za-z0-9]", line)}


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    found = [
        f"{path}:{node.lineno}: {node.attr}"
        for path, tree in modules("tests")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in WAYS_TO_SKIP
    ] + [
        f"{path}:{node.lineno}: from {node.module} import {name.name}"
        for path, tree in modules("tests")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in {"pytest", "unittest"}
        for name in node.names
        if name.name in WAYS_TO_SKIP
    ]
    assert found == []


@pytest.mark.parametrize("rule", [MACHINE_PATH, INDEX_HOST], ids=["machine paths", "index hosts"])
def test_product_names_no_machine(rule: re.Pattern[str]) -> None:
    assert [f"{place}: {line}" for place, line in product_lines() if rule.search(line)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_versions_and_hashes_only(lock: str) -> None:
    text = (ROOT / lock).read_text("utf-8")
    assert "://" not in text
    logical = re.sub(r"#.*|\\\n", "", text).split("\n")
    requirements = [line.split() for line in logical if line.strip()]
    assert requirements
    for words in requirements:
        assert re.fullmatch(r"[a-z0-9-]+==[\w.+!]+", words[0]), words[0]
        options = [word for word in words if word.startswith("--")]
        assert options, f"{words[0]} has no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", option) for option in options)


def test_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    groups = project["dependency-groups"]
    runtime = {canonical(each) for each in project["project"]["dependencies"]}
    assert runtime <= locked("requirements.lock"), "run scripts/lock"
    dev = {canonical(each) for each in groups["dev"]}
    assert dev | locked("requirements.lock") <= locked("requirements-dev.lock"), "run scripts/lock"
    bench = {canonical(each) for each in groups["bench"]}
    assert bench | locked("requirements-dev.lock") <= locked("requirements-bench.lock"), (
        "run scripts/lock"
    )
    build = {canonical(each) for each in groups["build"]}
    assert build <= locked("requirements-build.lock"), "run scripts/lock"


def test_files_that_are_begun_first_are_there() -> None:
    assert [path for path in LONGEST if not (ROOT / path).is_file()] == []


def test_every_module_says_what_it_is_for() -> None:
    assert [path for path, tree in modules("p2psync") if not ast.get_docstring(tree)] == []


def test_error_codes_are_unique() -> None:
    classes: dict[str, str] = {}
    for each in error_classes():
        assert "code" in vars(each), f"{each.__name__} has no code of its own"
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", each.code), each.code
        assert each.code not in classes, f"{each.__name__} and {classes[each.code]}: {each.code}"
        classes[each.code] = each.__name__


@pytest.mark.parametrize("cls", error_classes(), ids=lambda cls: cls.__name__)
def test_error_has_texts_with_named_parameters(cls: type[errors.P2PSyncError]) -> None:
    assert cls.__doc__
    assert cls.template.strip()
    assert cls.exit_code in range(1, 126)
    names = [
        name
        for template in (cls.template, cls.hint_template)
        for _, name, _, _ in string.Formatter().parse(template)
        if name is not None
    ]
    assert all(name.isidentifier() for name in names), names
    filled = cls(**dict.fromkeys(names, "X"))
    assert "{" not in filled.text + filled.hint
