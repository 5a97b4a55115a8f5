"""Whose code may run, and how code and data of others are taken in."""
