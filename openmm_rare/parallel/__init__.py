"""Cores, threads and processes."""
