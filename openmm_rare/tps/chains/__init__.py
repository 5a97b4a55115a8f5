"""Stretches of chains in path space: plain functions of plain data."""
