"""Code of README and docs: what stands there runs, as it stands or with the cheaper numbers that comments beside it give."""

import tomllib
from importlib.util import find_spec

import pytest

from code_blocks import ROOT, blocks_of, commands_of, run_page

RUN = ["README.md", "docs/systems.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/tutorials/*.md"))]
NEED_OPS = ("README.md", "docs/tutorials/ops_script.md")
READ = [path for path in sorted(ROOT.glob("docs/guide/*.md")) + [ROOT / "docs" / "own_system.md"]]


@pytest.mark.parametrize("page", RUN)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    if page in NEED_OPS and find_spec("openpathsampling") is None:
        pytest.skip("needs the extra ops")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert run_page((ROOT / page).read_text(encoding="utf8")) or page == "docs/tutorials/long_steps.md"


@pytest.mark.parametrize("page", READ, ids=lambda page: page.stem)
def test_code_of_guides_is_whole(page):
    for block in blocks_of(page.read_text(encoding="utf8")):
        if block.language == "toml":
            tomllib.loads(block.code)
        elif block.language == "python":
            compile(block.code, page.name, "exec")
        else:
            assert commands_of(block.code)


@pytest.mark.parametrize(
    ("page", "error"),
    [
        ("```python\nx = 1 / 0\n```\n", ZeroDivisionError),
        ("<!-- file: x.py -->\n```python\nx = 1 / 0\n```\n\n```console\n$ python x.py\n```\n", ZeroDivisionError),
        ('```console\n$ python -c "print(1)"\n2\n```\n', AssertionError),
        ("```console\n$ openmm-rare rate nothing\n```\n", AssertionError),
        ("```console\n$ false\n```\n", Exception),
        ("```toml\nx = \n```\n", tomllib.TOMLDecodeError),
        ("<!-- test: replace '3' by '1' -->\n```python\nx = 2\n```\n", AssertionError),
        ("<!-- test: shrink -->\n```python\nx = 2\n```\n", AssertionError),
        ("<!-- test: expect y -->\n```python\nx = 2\n```\n", AssertionError),
    ],
)
def test_what_is_wrong_on_a_page_is_found(page, error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error):
        run_page(page)


def test_blocks_share_names_and_comments_hold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (
        "```python\nx = 2\n```\ntext\n<!-- test: replace '100' by '3' -->\n"
        "```python\nassert x * 100 == 6\nopen('out', 'w').close()\n```\n"
        "<!-- test: expect out -->\n```console\n$ python -c \"\nprint(4)\"\n4\n$ printf '%s' a\\\n    > b\n```\n"
        "<!-- test: skip, takes an hour -->\n```python\nx = 1 / 0\n```\n"
    )
    assert run_page(page) == 3 and (tmp_path / "b").read_text() == "a"
