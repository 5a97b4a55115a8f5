"""Transition paths as data, without OpenPathSampling."""
