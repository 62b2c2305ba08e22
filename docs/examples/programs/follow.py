"""What a program does that wants to know at once: follow.py STATE [UNTIL]

Prints each event. The number of the last one is kept in the file STATE: whoever starts it again
misses nothing. Ends after the first event of the type UNTIL.
"""

import sys
import time
from pathlib import Path

import local_api


def main(state: Path, until: str) -> None:
    """Follow the events for ever, also across a restart of the node."""
    while True:
        since = int(state.read_text("ascii")) if state.exists() else 0
        try:
            for event in local_api.events(since):
                if event.get("id") is None:
                    continue  # progress: it passes and is not kept
                print(event["id"], event["type"], event["text"], flush=True)
                state.write_text(str(event["id"]), "ascii")
                if event["type"] == until:
                    return
        except (local_api.NotRunning, OSError):
            pass
        time.sleep(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
