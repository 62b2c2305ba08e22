"""Audit reports: what they say, and how it is set in HTML and PDF."""
