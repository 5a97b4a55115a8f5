"""Paths in files."""
