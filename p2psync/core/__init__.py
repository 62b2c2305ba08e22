"""Values and pure functions: no disk, no network, no clock, no randomness."""
