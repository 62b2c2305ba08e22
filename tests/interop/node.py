"""Whether js-libp2p can be played with here, and what it takes: Node.js, npm, the locked packages.

``python -m tests.interop.node`` says it in a line.
"""

import fcntl
import hashlib
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "js"
NODE_MAJOR_MIN = 20
_INSTALL_SECONDS = 300


@cache
def missing() -> str | None:
    """What keeps the js part from running, or None."""
    node = shutil.which("node")
    if node is None:
        return "no Node.js"
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.match(r"v(\d+)\.", said)
    if match is None or int(match[1]) < NODE_MAJOR_MIN:
        return f"Node.js {said.strip() or 'of no version'} is older than {NODE_MAJOR_MIN}"
    if shutil.which("npm") is None:
        return "no npm"
    return None


def install() -> None:
    """Install what the lock file names, unless it is there; raises ``RuntimeError``.

    Several processes may want it at once: one does it, the others wait.
    """
    with open(FOLDER / ".p2psync-lock", "w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        _install()


def _install() -> None:
    lock = (FOLDER / "package-lock.json").read_bytes()
    stamp = FOLDER / "node_modules" / ".p2psync-stamp"
    wanted = hashlib.sha256(lock).hexdigest()
    if stamp.is_file() and stamp.read_text("ascii") == wanted:
        return
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"npm ci in {FOLDER.name} failed:\n{done.stderr}")
    stamp.write_text(wanted, "ascii")


def line() -> str:
    """For people: does the js part run, and if not, why."""
    reason = missing()
    if reason is None:
        return "interop: js-libp2p takes part"
    return (
        f"interop: js-libp2p does NOT take part: {reason}"
        f" (Node.js {NODE_MAJOR_MIN} or later and npm are needed)"
    )


if __name__ == "__main__":
    print(line())  # noqa: T201  # that is what it is for
