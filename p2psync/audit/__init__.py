"""Audit files: written from a mandate's entries, verified and read by who has only the file."""
