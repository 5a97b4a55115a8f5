"""The rate from the barrier: umbrella windows up to its top, and shots from there."""
