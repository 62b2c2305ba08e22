"""The walk through a page finds what is wrong with it."""

from pathlib import Path

import pytest

from tests.docs_stories.rig import stage
from tests.docs_stories.walk import PageIsWrong, Step, Walk, read_page

PAGE = """# A page

```console
ann$ printf 'one %s\\n' 4217c8ad0ca85288
one 4217c8ad0ca85288
ann$ for each in 1 2; do
>   echo $each
> done
1
…
bob$ echo hello
```

```python
print("not walked")
```
"""


@pytest.fixture
def walk(tmp_path: Path) -> Walk:
    with stage(tmp_path / "try", tmp_path, ["ann", "bob"]) as found:
        return found


def step(command: str, *shown: str) -> Step:
    return Step("page.md:1", "ann", command, shown)


def test_a_page_is_read_into_steps(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, "utf-8")
    read = read_page(page)
    assert [(each.person, each.place) for each in read.steps] == [
        ("ann", "page.md:4"),
        ("ann", "page.md:6"),
        ("bob", "page.md:11"),
    ]
    assert read.steps[1].command == "for each in 1 2; do\n  echo $each\ndone"
    assert read.steps[1].shown == ("1", "…")
    assert read.others == ("page.md:14",)


def test_a_block_without_a_prompt_is_wrong(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\np2psync status\n```\n", "utf-8")
    with pytest.raises(PageIsWrong, match="begins with a prompt"):
        read_page(page)


@pytest.mark.parametrize(
    "wrong",
    [
        step("false"),
        step("true", "error: no"),
        step("echo one", "two"),
        step("printf 'one\\ntwo\\n'", "one", "one"),
        step("echo 5 records", "6 records"),
        step("for each in 1 2; do false; done"),
        step("false | true"),
    ],
)
def test_what_is_not_as_the_page_tells_is_found(walk: Walk, wrong: Step) -> None:
    with pytest.raises(PageIsWrong, match=r"page\.md:1"):
        walk.take(wrong)


def test_what_differs_each_time_stands_for_what_was_said(walk: Walk) -> None:
    walk.run(
        (
            step(
                "echo receipt 00aa11bb22cc33dd at 2031-01-01 00:00",
                "receipt 4217c8ad0ca85288 at 2026-11-21 04:14",
            ),
            step("echo 4217c8ad", "4217c8ad0ca85288"),
            step("test 4217c8ad = 00aa11bb"),
            step(
                "echo the words: pube raje kuje lume kuji lile",
                "the words: aaaa bbbb cccc dddd eeee ffff",
            ),
            step("test 'aaaa bbbb cccc dddd eeee ffff' = 'pube raje kuje lume kuji lile'"),
            step("echo '17 2026-11-21 04:14 held back'", "5 2026-11-21 04:14 held back"),
            step("set -- --close 5 && test $2 = 17"),
        )
    )
    with pytest.raises(PageIsWrong):
        walk.take(step("echo ffaa11bb22cc33dd", "4217c8ad0ca85288"))


def test_a_terminal_is_one_and_keeps_folder_and_variables(walk: Walk) -> None:
    walk.run(
        (
            step("mkdir one && cd one && export GREETING=hello"),
            step('echo "$GREETING from $(basename "$PWD")"', "hello from one"),
            step("test -t 0 && test -t 1 && test -t 2"),
            Step("page.md:1", "bob", "ls -1 examples", ("README.md",)),
        )
    )


def test_a_question_is_answered_with_what_the_page_shows(walk: Walk) -> None:
    walk.run(
        (
            step(
                "echo words: pube raje kuje lume kuji lile", "words: aaaa bbbb cccc dddd eeee ffff"
            ),
            step(
                "read -r -p 'the passphrase: ' words && echo \"got $words\"",
                "the passphrase: aaaa bbbb cccc dddd eeee ffff",
                "got aaaa bbbb cccc dddd eeee ffff",
            ),
        )
    )
