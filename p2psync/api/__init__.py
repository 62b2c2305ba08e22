"""The local HTTP API of a running node."""
