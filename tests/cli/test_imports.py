"""What a process loads: a command is to answer at once, and the node to start soon.

Each runs in a process of its own, for a test has everything loaded.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

_LIBRARIES_OF_THE_NODE = {
    *("trio", "libp2p", "fastapi", "starlette", "pydantic", "hypercorn", "zeroconf", "watchfiles"),
    *("cryptography", "nacl", "sqlite3", "httpx", "noise"),
}


def loaded_after(code: str, *arguments: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded once it has run some code."""
    tell = "import json, sys; print(json.dumps(sorted({n.partition('.')[0] for n in sys.modules})))"
    ended = subprocess.run(
        [sys.executable, "-c", f"{code}\n{tell}", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(json.loads(ended.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "words",
    [
        ("mandate", "list"),
        ("status",),
        ("node", "status"),
        ("node", "start", "--help"),
        ("attach", "Books", "file.ecf", "--kind", "invoicing"),
        ("post", "Books"),
    ],
    ids=" ".join,
)
def test_a_command_loads_nothing_that_only_the_node_needs(
    words: Sequence[str], tmp_path: Path
) -> None:
    code = "import sys; from p2psync.cli.main import run; run(sys.argv[1:])"
    loaded = loaded_after(code, "--home", str(tmp_path), *words)
    assert "p2psync" in loaded
    assert loaded & _LIBRARIES_OF_THE_NODE == set()


def test_the_node_does_not_load_libp2p() -> None:
    """Its wire needs 1 s of CPU and 60 MB less without it (decision 0017)."""
    loaded = loaded_after("import p2psync.cli.daemon, p2psync.api.server")
    assert {"trio", "noise"} <= loaded
    assert loaded & {"libp2p", "multiaddr", "aioquic", "requests", "httpx"} == set()
