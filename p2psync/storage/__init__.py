"""The disk: log and state, chunks, shared folders, the watcher, key files."""
