"""Both ways: what the rate from B to A starts from, and what both rates say together."""
