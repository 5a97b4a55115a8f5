"""Folders of runs: what is written into them, and what is read from them."""

from ..faces import face

__getattr__, __dir__, __all__ = face(__name__, {"path_folder": ["load_path_sampling"]})
