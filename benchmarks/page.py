"""How long after the last stroke of a drawing its results are there, and how much the page's first paint takes.

    make demo            # or any service with pictures
    python -m benchmarks.page http://127.0.0.1:8765 [--collection openmoji] [--strokes 20] [--json]

A real Chromium draws one stroke after another. A time runs from the moment the pen is lifted to the first frame with
the results of that stroke, model and search included. The first paint counts all that is loaded but pictures.
"""

import argparse
import json
import os
import shutil
import statistics
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

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
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="where the service is")
    parser.add_argument("--collection", default="openmoji")
    parser.add_argument("--strokes", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        report = measure(browser.new_page(), arguments.url.rstrip("/"), arguments.collection, arguments.strokes)
        browser.close()
    print(json.dumps(report) if arguments.json else _as_text(report))


def measure(page: Page, url: str, collection: str, strokes: int) -> dict[str, Any]:
    """Bytes of the first paint, and milliseconds from each stroke to its results; the first one is left out."""
    loaded: dict[str, int] = {}

    def note(asked: Any) -> None:
        loaded[asked.url] = asked.sizes()["responseBodySize"]

    page.on("requestfinished", note)
    page.goto(f"{url}/#c={collection}")
    page.wait_for_selector("body:not(.searching) .card img")
    page.wait_for_load_state("networkidle")
    page.remove_listener("requestfinished", note)
    page.click("#open-drawing")
    page.evaluate(_WATCH)
    for number in range(strokes + 1):
        _stroke(page, np.random.default_rng(number))
        while page.evaluate("window.waits.length") <= number:
            page.wait_for_timeout(20)
    waits = page.evaluate("window.waits")[1:]
    return {
        "first_paint_bytes": sum(size for address, size in loaded.items() if "/assets/" not in address),
        "strokes": strokes,
        "median_ms": round(statistics.median(waits)),
        "longest_ms": round(max(waits)),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
    }


def _stroke(page: Page, chance: np.random.Generator) -> None:
    """Draw through five places of the sheet."""
    box = page.locator("#canvas").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in chance.uniform(0.1, 0.9, (5, 2))]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def _as_text(report: dict[str, Any]) -> str:
    return (
        f"first paint: {report['first_paint_bytes'] / 1000:.1f} kB without pictures\n"
        f"results after a stroke: {report['median_ms']} ms (median of {report['strokes']}), "
        f"at most {report['longest_ms']} ms; {report['cores']} cores, load {report['load']}"
    )


if __name__ == "__main__":
    main()
