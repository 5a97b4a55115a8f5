"""OpenPathSampling with openmm_rare: needs the extra ``ops`` (``pip install openmm-rare[ops]``)."""
