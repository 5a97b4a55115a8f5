"""What a System consists of: particles, bonds, constraints, molecules and its box."""
