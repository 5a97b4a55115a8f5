"""The dynamics of a problem in OpenMM: integrators, copies of a System, and what can be seen to go wrong."""
