"""States A and B: variables, regions and channels."""
