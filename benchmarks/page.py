"""Latency from the last stroke of a drawing to its results on the page, and the bytes of the page's first paint.

    make demo            # or any service with pictures
    python -m benchmarks.page http://127.0.0.1:8765 [--collection openmoji] [--strokes 20] [--json]

A real Chromium draws one stroke after another. A time runs from the moment the pen is lifted to the first frame with
the results of that stroke, model and search included. The first paint counts all that is loaded but pictures.
"""

import json
import shutil
import statistics
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

from benchmarks.reporting import machine, option_parser

Page = Any

# Notes the milliseconds from lifting the pen to the first frame after the page has stopped searching.
_WATCH = """() => {
  window.waits = [];
  let lifted = null, searched = false;
  document.addEventListener("pointerup", () => { lifted = performance.now(); searched = false; }, true);
  new MutationObserver(() => {
    if (document.body.classList.contains("searching")) { searched = lifted !== null; return; }
    if (!searched) return;
    const from = lifted;
    lifted = null;
    searched = false;
    requestAnimationFrame(() => window.waits.push(performance.now() - from));
  }).observe(document.body, { attributeFilter: ["class"] });
}"""


def main() -> None:
    """Read the options, measure and print."""
    parser = option_parser("page", __doc__)
    parser.add_argument("url", help="address of the service")
    parser.add_argument("--collection", default="openmoji")
    parser.add_argument("--strokes", type=int, default=20)
    arguments = parser.parse_args()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        report = measure(browser.new_page(), arguments.url.rstrip("/"), arguments.collection, arguments.strokes)
        browser.close()
    print(json.dumps(report) if arguments.json else _as_text(report))


def measure(page: Page, url: str, collection: str, strokes: int) -> dict[str, Any]:
    """Bytes of the first paint, and milliseconds from strokes to their results, without the first stroke."""
    sizes: dict[str, int] = {}

    def record_size(request: Any) -> None:
        sizes[request.url] = request.sizes()["responseBodySize"]

    page.on("requestfinished", record_size)
    page.goto(f"{url}/#c={collection}")
    page.wait_for_selector("body:not(.searching) .card img")
    page.wait_for_load_state("networkidle")
    page.remove_listener("requestfinished", record_size)
    page.click("#open-drawing")
    page.evaluate(_WATCH)
    for number in range(strokes + 1):
        _draw_stroke(page, np.random.default_rng(number))
        while page.evaluate("window.waits.length") <= number:
            page.wait_for_timeout(20)
    waits = page.evaluate("window.waits")[1:]
    return {
        "first_paint_bytes": sum(size for address, size in sizes.items() if "/assets/" not in address),
        "strokes": strokes,
        "median_ms": round(statistics.median(waits)),
        "longest_ms": round(max(waits)),
        **machine(),
    }


def _draw_stroke(page: Page, rng: np.random.Generator) -> None:
    """Draw a stroke through five random points of the canvas."""
    box = page.locator("#canvas").bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in rng.uniform(0.1, 0.9, (5, 2))]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=4)
    page.mouse.up()


def _as_text(report: dict[str, Any]) -> str:
    return (
        f"first paint: {report['first_paint_bytes'] / 1000:.1f} kB without pictures\n"
        f"results after a stroke: {report['median_ms']} ms (median of {report['strokes']}), "
        f"at most {report['longest_ms']} ms; {report['cores']} cores, load {report['load']}"
    )


if __name__ == "__main__":
    main()
