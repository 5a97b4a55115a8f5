"""How Sphinx builds the site: ``make docs``. Nothing is fetched, neither at build time nor by the pages that come out."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "site")]

from sphinx.domains.python import PyObject  # noqa: E402

import openmm_rare  # noqa: E402

project = "openmm_rare"
author = "The openmm_rare developers"
copyright = "The openmm_rare developers, MIT license"
version = release = openmm_rare.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
extensions += ["reference_pages", "repository_links", "mathml"]  # in site/
exclude_patterns = ["site", "figures"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4
myst_all_links_external = False

for _field in PyObject.doc_field_types:
    if _field.name == "variable":  # as NumPy's style calls them
        _field.label = "Attributes"

html_theme = "furo"
html_title = f"openmm_rare {release}"
html_static_path = ["site/static"]
html_css_files = ["wide.css"]
html_copy_source = False
html_show_sphinx = False
templates_path = []
pygments_style = "friendly"

autodoc_typehints = "none"  # the docstrings say types, shapes and units
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
