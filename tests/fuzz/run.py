"""Runs one target under atheris; ``scripts/fuzz`` and the tests start it as a process of its own.

    python -m tests.fuzz.run TARGET FOLDER… [-runs=N] [-seed=S] [-max_total_time=SECONDS]

The first folder takes what is found; the rest is libFuzzer's.
"""

import os
import sys

import atheris


def main() -> None:
    """Instrument the product, then feed the target."""
    name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["p2psync"], enable_loader_override=False):
        from tests.fuzz.targets import find

        target = find(name)
    again = os.environ.get("FUZZ_AGAIN", sys.argv[0])  # libFuzzer starts itself anew to merge
    atheris.Setup([again, f"-max_len={target.bytes_max}", *arguments], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
