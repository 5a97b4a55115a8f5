"""Rate constants: flux times the probability to reach B."""
