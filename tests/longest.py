"""The test files that take longest, one process each: they are begun first, or the last of them
would be waited for alone.
"""

LONGEST = (
    "tests/stateful/test_life.py",
    "tests/e2e/test_story.py",
    "tests/e2e/test_kill.py",
    "tests/docs_stories/test_stories.py",
    "tests/crash/test_crash.py",
    "tests/kills/test_kills.py",
    "tests/interop/test_transports.py",
    "tests/interop/test_relays.py",
    "tests/sim/test_sim.py",
    "tests/fuzz/test_fuzz.py",
    "tests/e2e/test_lan.py",
    "tests/e2e/test_bulk.py",
    "tests/formats/test_blocks.py",
)
