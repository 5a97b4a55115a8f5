"""The commands `openmm-rare latent check`, `fit` and `sample`."""
