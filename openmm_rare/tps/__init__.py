"""Path sampling as an application of OpenPathSampling."""
