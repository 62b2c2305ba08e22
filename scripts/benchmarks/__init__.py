"""Benchmarks of p2psync and of what users could pick instead: see docs/performance.md."""
