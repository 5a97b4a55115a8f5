"""The command ``openmm-rare``."""
