"""The site: it builds without a warning, its links hold, nothing in it asks a network; and README is one page."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
MADE = ("docs/reference", "docs/more")  # by the build
PAGES = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("docs/[gt]*/*.md"), *ROOT.glob("examples/**/*.md")]
NEEDED = ("sphinx", "myst_parser", "furo", "openpathsampling")


def anchors_of(text):
    """Those that a renderer of Markdown gives to headings."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)}


def broken_links(page, text):
    """Relative links of a file of Markdown that lead nowhere."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        place, _, anchor = target.partition("#")
        there = (page.parent / place).resolve() if place else page
        if ":" in target or any(there.is_relative_to(ROOT / made) for made in MADE):
            continue
        if not there.exists() or (anchor and anchor not in anchors_of(there.read_text(encoding="utf8"))):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_files_hold(page):
    assert not [*broken_links(page, page.read_text(encoding="utf8"))]


def test_broken_links_between_files_are_found():
    page = ROOT / "README.md"
    text = "[a](docs/nothing.md) [b](docs/theory.md#nothing) [c](docs/theory.md#3-the-rate) [d](docs)\n```\n[e](x)\n```\n"
    assert [*broken_links(page, text)] == ["docs/nothing.md", "docs/theory.md#nothing"]


def test_readme_is_one_page():
    text = (ROOT / "README.md").read_text(encoding="utf8")
    assert len(text.splitlines()) <= 150
    assert re.search(r"^    make test\b", text, re.M) and re.search(r"^make test$", (ROOT / ".ci" / "run").read_text(), re.M)
    extras = set(re.findall(r'"([\w-]+)": \[', (ROOT / "setup.py").read_text(encoding="utf8")))
    named = {extra for each in re.findall(r'"\.\[([\w,-]+)\]"', text) for extra in each.split(",")}
    assert named and named <= extras
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf8"), re.M)
    assert set(re.findall(r"(?:`|    )make ([a-z][\w-]+)", text)) <= set(targets)


class _Page(HTMLParser):
    """Links, names, and what a browser would fetch by itself."""

    def __init__(self, path):
        super().__init__()
        self.links, self.names, self.fetched = [], set(), []
        self.feed(path.read_text(encoding="utf8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.names |= {found[key] for key in ("id", "name") if found.get(key)}
        place = found.get("href") or found.get("src")
        if place is None:
            return
        if tag in ("link", "script", "img", "iframe", "source"):
            self.fetched.append(place)
        self.links.append(place)


def faults(site):
    """Links that lead nowhere within the site, and what is fetched from elsewhere."""
    pages = {path.resolve(): _Page(path) for path in site.rglob("*.html")}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.fetched and parts.scheme != "data":
                    yield f"{path.name} fetches {link}"
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not there.is_relative_to(site.resolve()) or not there.exists():
                yield f"{path.name} links to {link}, which is not there"
            elif parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].names:
                yield f"{path.name} links to {link}, a name that is not there"
    for path in site.rglob("*.css"):
        if re.search(r"(@import|url\()\s*[\"']?(https?:)?//", path.read_text(encoding="utf8")):
            yield f"{path.name} fetches from elsewhere"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `make docs` makes it."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not here: the extras docs and ops")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "-b", "html", "docs", out]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def test_the_site_builds_without_warnings_and_its_links_hold(site):
    assert len([*site.rglob("*.html")]) > 40
    assert not [*faults(site)]


def test_settings_and_interface_are_those_of_the_code(site):
    import dataclasses

    import openmm_rare
    from openmm_rare.settings.action import ActionSettings
    from openmm_rare.settings.barrier import BarrierSettings
    from openmm_rare.settings.latent import LatentSettings

    settings = (site / "reference" / "settings.html").read_text(encoding="utf8")
    known = (openmm_rare.RateSettings, openmm_rare.PathSettings, BarrierSettings, LatentSettings, ActionSettings)
    for each in (field for one in known for field in dataclasses.fields(one)):
        row = re.search(rf'<span class="pre">{each.name}</span></code></p></td>(.*?)</tr>', settings, re.S)
        assert row, each.name
        meaning = re.sub(r"<.*?>", "", row.group(1).rsplit("<td>", 1)[1]).strip()
        assert meaning or each.name in ("batch", "latent_friction"), f"{each.name} has no meaning"
    names = "".join(path.read_text(encoding="utf8") for path in site.glob("reference/openmm_rare*.html"))
    assert all(f'id="openmm_rare.{name}"' in names for name in openmm_rare.__all__ if name != "__version__")
    commands = (site / "reference" / "commands.html").read_text(encoding="utf8")
    assert all(f'id="openmm-rare-{name}"' in commands for name in ("rate", "tps", "init", "latent-fit", "action-train"))


def test_faults_of_a_site_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html">1</a><a href="#x">2</a><a id="y" href="#y">3</a><a href="https://example.org">4</a>'
        '<script src="https://example.org/x.js"></script><img src="data:,">'
    )
    (tmp_path / "a.css").write_text("@import url(//example.org/x.css);")
    found = "\n".join(faults(tmp_path))
    assert len(found.splitlines()) == 4 and "b.html" in found and "#x" in found and "x.js" in found and "a.css" in found
    shutil.rmtree(tmp_path)
