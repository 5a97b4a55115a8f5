"""Levels of ln I on the way from A to B, at which walkers are gathered and drawn anew."""
