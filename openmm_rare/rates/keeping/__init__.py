"""Paths that are kept while walkers are followed, with weights that stay unbiased."""
