"""Folders of runs: what is written into them, and what is read from them."""
