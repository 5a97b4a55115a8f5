"""Rates with momenta, and of large Systems: splitting along a given direction, whose scale a pilot measures."""
