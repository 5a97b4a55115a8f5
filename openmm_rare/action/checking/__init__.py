"""What a step does to energy, to the temperature of modes, and to phase space."""
