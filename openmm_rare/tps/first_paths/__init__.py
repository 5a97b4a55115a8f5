"""First paths from A to B."""
