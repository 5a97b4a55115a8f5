"""Many copies of a small System that move."""
