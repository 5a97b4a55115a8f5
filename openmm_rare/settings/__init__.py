"""Everything that a user may change, with its default."""
