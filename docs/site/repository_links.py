"""Links of pages to files of the repository, which work where the sources are read and on the site as well.

READMEs of examples, the changelog and what is said of safety become pages. A link to a folder of examples leads to its README,
one to another file of the repository to a copy of it.
"""

import os
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
PAGES = "more"  # the folder of what is made here, below docs/
_LINK = re.compile(r"(\]\()([^)#\s]+)(#[^)]*)?\)")


def _page_of(path):
    """The page, as a path, that stands for a file or folder of the repository; None for others."""
    if path.is_dir():
        path = path / "README.md"
    if path.suffix != ".md" or path == REPOSITORY / "README.md" or not path.is_file() or path.is_relative_to(DOCS):
        return None
    name = "_".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    return DOCS / PAGES / f"{name.removesuffix('_README').lower()}.md"


def moved(text, source, page):
    """The text of a file, with its relative links as they are to be on a page elsewhere."""

    def link(match):
        begin, target, anchor = match.group(1), match.group(2), match.group(3) or ""
        if ":" in target:
            return match.group(0)
        there = (source.parent / target).resolve()
        if there == REPOSITORY / "README.md":
            there = DOCS / "index.md"
        there = _page_of(there) or there
        return f"{begin}{os.path.relpath(there, page.parent)}{anchor})"

    return _LINK.sub(link, text)


def write_pages(app, config):
    """A page for each README of examples, and for what else lies at the top of the repository."""
    sources = [*REPOSITORY.glob("examples/**/README.md"), REPOSITORY / "CHANGELOG.md", REPOSITORY / "SECURITY.md"]
    (DOCS / PAGES).mkdir(exist_ok=True)
    for source in sources:
        page = _page_of(source)
        page.write_text(moved(source.read_text(encoding="utf8"), source, page), encoding="utf8")


def move_links(app, name, content):
    """Links of a page as it is read."""
    page = Path(app.env.doc2path(name))
    content[0] = moved(content[0], page, page)


def setup(app):
    """For Sphinx."""
    app.connect("config-inited", write_pages)
    app.connect("source-read", move_links)
    return {"parallel_read_safe": True}
