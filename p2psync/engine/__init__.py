"""The protocol with no I/O: events in, effects out."""
