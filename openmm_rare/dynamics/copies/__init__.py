"""Many walkers in one Context: a System copied, and its pair interactions as bonds."""
