"""Trees: descendants of roots, one after another in one Context."""
