"""The headless relay: passes on what it cannot read, for those whom its operator lets in."""
