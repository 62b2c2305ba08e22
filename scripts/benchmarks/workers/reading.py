"""``reading stream|inspect FILE``, ``reading compare OLD NEW``: reads exchange files of any size.

``stream`` counts the records segment by segment, ``inspect`` and ``compare`` do what the command of
that name does, without printing it.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from functools import partial

from p2psync.formats.inspection.compare import compare
from p2psync.formats.inspection.survey import recognise, segments_of, survey
from p2psync.limits import FILE_HEAD_BYTES, MIB


def blocks(path: str) -> Iterator[bytes]:
    """Gives a file in blocks."""
    with open(path, "rb") as file:
        yield from iter(partial(file.read, MIB), b"")


def main(what: str, *paths: str) -> None:
    """Reads, and prints how many records there were and what that took."""
    before = time.perf_counter(), time.process_time()
    with open(paths[0], "rb") as file:
        found = recognise(os.path.basename(paths[0]), file.read(FILE_HEAD_BYTES))
    match what:
        case "stream":
            segments = found.form.stream(blocks(paths[0]))
            records = sum(segment.record_count for segment in segments)
        case "inspect":
            size = os.path.getsize(paths[0])
            records = survey(found, size, partial(blocks, paths[0]), 20).counts.records
        case _:
            sides = [
                segments_of(found.form, os.path.getsize(path), partial(blocks, path))
                for path in paths
            ]
            compared = compare(*sides)
            records = compared.added + compared.deleted + compared.changed
    told = {
        "format": found.form.name,
        "records": records,
        "seconds": time.perf_counter() - before[0],
        "cpu": time.process_time() - before[1],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    }
    sys.stdout.write(json.dumps(told) + "\n")


main(*sys.argv[1:])
