"""A picture of a report for docs/gallery.md: python docs/figures/gallery.py RUN/report.html rate --rows 0 1500

Needs Chromium. The picture is docs/figures/gallery_rate.png, in 256 colors.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

WIDTH = 900


def main():
    """Take the page, cut out some rows, write them small."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("name")
    parser.add_argument("--rows", type=int, nargs=2, default=(0, 1500))
    parser.add_argument("--browser", default="chromium")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder, "shot.png")
        size = f"--window-size={WIDTH},{arguments.rows[1]}"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", size, f"--screenshot={shot}"]
        subprocess.run([arguments.browser, *options, arguments.report.resolve().as_uri()], check=True, capture_output=True)
        page = Image.open(shot).convert("RGB").crop((0, arguments.rows[0], WIDTH, arguments.rows[1]))
    small = page.resize((WIDTH * 4 // 5, page.height * 4 // 5), Image.Resampling.LANCZOS)
    few_colors = small.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few_colors.save(Path(__file__).parent / f"gallery_{arguments.name}.png", optimize=True)


if __name__ == "__main__":
    main()
