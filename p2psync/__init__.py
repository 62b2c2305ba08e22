"""p2psync keeps accounting exchange files in sync between machines, without a server."""

__version__ = "0.1.0"
