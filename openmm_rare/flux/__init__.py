"""Walkers that last visited A: the flux out of it, and whether they have seen all of it."""
