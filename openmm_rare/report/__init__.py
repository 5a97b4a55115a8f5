"""Everything that people look at: pages, figures and their style."""
