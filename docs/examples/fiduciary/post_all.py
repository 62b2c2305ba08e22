"""Posts what waits in all mandates: post_all.py FOLDER

Writes the records of each client to FOLDER/CLIENT.txt, what is to be taken back to
FOLDER/CLIENT.txt.deleted, and tells which clients that were. One that is refused (another device
has its accounting seat, say) is told and left as it is.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "programs"))

import local_api


def main(folder: Path) -> int:
    """Post; returns the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    refused = 0
    for mandate in local_api.call("GET", "mandates")["mandates"]:
        if not any(mandate["pending"].values()):
            continue
        out = folder.resolve() / f"{mandate['name'].replace('/', '_')}.txt"
        try:
            body = {"output": str(out)}
            done = local_api.call("POST", "mandates", mandate["id"], "receipts", body=body)
        except local_api.Refused as error:
            print(f"{mandate['name']}: {error}", file=sys.stderr)
            refused = 3
            continue
        print(f"{mandate['name']}: +{done['added']} -{done['deleted']}, receipt {done['receipt']}")
    return refused


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
