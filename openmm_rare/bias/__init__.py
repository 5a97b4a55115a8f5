"""From an importance function to a force of OpenMM."""
