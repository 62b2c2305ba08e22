"""Seeds that once failed, and what they showed. They stay."""

FAILED: dict[int, str] = {
    21: "power failed between a log's key and its first entry, and the log never opened",
}
