"""Reports as people see them, in headless Chromium: nothing is cut off, nothing is fetched, figures can be explored.

Pictures of every page are left in the temporary folder of the tests, in ``screenshots``, to be looked at.
"""

import time
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec

import pytest
from browser import CHROMIUM, browser
from executors import workers_here
from report_pages import PAGES, scan

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")

WIDTHS, SCHEMES = (390, 1280, 1920), ("light", "dark")
LARGEST = 3_000_000  # bytes of a page
TOO_WIDE = """[...document.querySelectorAll("body *")].filter((each) => {
    const box = each.getBoundingClientRect(), scrolls = each.parentElement.closest(".scroll, pre, .plot, .view");
    return !scrolls && box.width && box.right > document.documentElement.clientWidth + 1;
}).map((each) => each.outerHTML.slice(0, 80))"""
CUT_OFF = """[...document.querySelectorAll(".plot svg text")].filter((each) => {
    const text = each.getBoundingClientRect(), box = each.closest(".plot").getBoundingClientRect();
    return text.width && !each.closest(".modebar") && (text.right > box.right + 1 || text.left < box.left - 1);
}).map((each) => each.textContent)"""
SEEN = """[...document.querySelectorAll("figure")].map((each) =>
    [...each.children].filter((part) => part.matches(".still, .plot, .molecule") && !part.hidden && part.offsetHeight)
        .map((part) => part.className.match(/still|plot|molecule/)[0]).join())"""


def paths(folder):
    """A path sampling run that has just begun."""
    from openmm_rare.config.run import SamplingConfig
    from openmm_rare.folders.path_folder import with_path_settings
    from openmm_rare.tps import sampler
    from openmm_rare.workflow.path_sampling import run_path_sampling
    from openmm_rare.workflow.rate import configuration

    config = replace(configuration("two_channel_2d"), sampling=SamplingConfig(seed=1))
    given = {"storage": False, "trials": 8, "chains": 1, "initial_path": "biased", "steps_per_frame": 50}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "Processes", workers_here)
        run_path_sampling(with_path_settings(config, **given), folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(browser(tmp_path_factory.mktemp("profile")))
        except (AssertionError, OSError) as error:
            pytest.skip(f"Chromium does not start here: {error}")
        yield opened


@pytest.mark.parametrize("make", [*PAGES, paths], ids=lambda make: make.__name__)
def test_every_report_is_whole_at_every_width_by_day_and_by_night(page, make, tmp_path):
    if make is paths and find_spec("openpathsampling") is None:
        pytest.skip("OpenPathSampling is not installed")
    report = make(tmp_path / make.__name__)
    assert report.stat().st_size < LARGEST
    (tmp_path / "screenshots").mkdir()
    page.resize(WIDTHS[0])
    page.open(report)
    for width in WIDTHS:
        for scheme in SCHEMES:
            page.resize(width, scheme=scheme)
            assert page.run("document.documentElement.scrollWidth") <= width
            assert page.run(TOO_WIDE) == [] and page.run(CUT_OFF) == [], (width, scheme)
            page.screenshot(tmp_path / "screenshots" / f"{make.__name__}-{width}-{scheme}.png")
    assert page.asked == [report.resolve().as_uri()] and page.said == []
    seen, text = page.run(SEEN), report.read_text(encoding="utf8")
    assert [each.count(",") for each in seen] == [0] * len(seen) and all(seen)  # each figure in one form
    assert sum(each != "still" for each in seen) == text.count('type="application/json"')
    assert page.run("[...document.querySelectorAll('nav a')].every((a) => document.querySelector(a.hash))")


def test_pictures_stay_where_scripts_do_not_run(page, tmp_path):
    report = scan(tmp_path / "run")
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.call("Page.navigate", url=report.as_uri())
    while page.run("document.readyState + location.href") != f"complete{report.as_uri()}":
        time.sleep(0.05)
    seen = page.run(SEEN)
    page.call("Emulation.setScriptExecutionDisabled", value=False)
    assert len(seen) == 1 and set(seen) == {"still"}


def test_what_is_wrong_would_be_seen(page, tmp_path):
    """Negative control."""
    (tmp_path / "bad.html").write_text(
        '<meta name="viewport" content="width=device-width"><body style="margin: 0"><div style="width: 600px">wide</div>'
        '<img src="http://127.0.0.1:9/a.png"><div class="plot" style="width: 100px"><svg width="100" height="20">'
        "<text x='60' y='10'>much too long</text></svg></div><script>console.warn('broken')</script>"
    )
    page.resize(390)
    page.open(tmp_path / "bad.html")
    assert page.run("document.documentElement.scrollWidth") > 390
    assert "wide" in page.run(TOO_WIDE)[0] and page.run(CUT_OFF) == ["much too long"]
    assert "http://127.0.0.1:9/a.png" in page.asked and page.said == ["broken"]
