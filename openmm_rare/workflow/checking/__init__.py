"""The command `openmm-rare check`: what can be said of a configuration within seconds."""
