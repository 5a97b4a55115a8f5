from ..faces import face

__getattr__, __dir__, __all__ = face(__name__, {"path_folder": ["load_path_sampling"]})
