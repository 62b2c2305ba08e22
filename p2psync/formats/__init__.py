"""Exchange files: bytes to records and back, one module a format."""
