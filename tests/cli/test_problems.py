"""What people read of a file with a thousand problems."""

from p2psync.cli.problems import problem_lines


def _problem(line: int, text: str) -> dict[str, object]:
    return {"code": "x", "line": line, "text": text}


def test_equal_problems_are_told_once_with_their_first_lines() -> None:
    problems = [_problem(line, "no account") for line in (2, 3, 3, 4, 9, 12)]
    assert list(
        problem_lines("a.txt", [_problem(7, "no date"), *problems, _problem(0, "odd")])
    ) == [
        "a.txt, line 7: no date",
        "a.txt, lines 2, 3, 4 and 2 more: no account",
        "a.txt: odd",
    ]
    assert list(problem_lines("a.txt", problems[:2])) == ["a.txt, lines 2, 3: no account"]


def test_ten_are_told_and_how_many_more_there_are() -> None:
    problems = [_problem(line, f"{line % 13} is wrong") for line in range(1, 27)]
    lines = list(problem_lines("a.txt", problems))
    assert len(lines) == 11
    assert lines[-1] == "a.txt: 6 more are not listed; --json lists all"
    assert not list(problem_lines("a.txt", []))
