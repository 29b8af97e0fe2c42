"""The page speaks the browser's language."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import anyseek.api
from tests.api.web.views import Page, Visiting, settled

STRINGS = Path(anyseek.api.__file__).parent / "web" / "strings"
LOCALES = {"en-US": "en", "de-DE": "de", "fr-FR": "fr", "es-MX": "es", "zh-CN": "zh"}
SCREENS = ({"width": 1440, "height": 900}, {"width": 390, "height": 844})

# Texts that are shown cut off: in elements too narrow for them, or beyond the window.
_CUT = """() => [...document.querySelectorAll("button, a, label, h1, h2, p, span, output, option, legend")]
  .filter((one) => one.checkVisibility() && one.textContent.trim() && !one.closest(".card, svg"))
  .filter((one) => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== "inline"
    || one.getBoundingClientRect().right > innerWidth + 1)
  .map((one) => one.textContent)"""

# The width in pixels that the field for words lacks to show its placeholder.
_LACKING = """() => {
  const field = document.querySelector("#words"), style = getComputedStyle(field);
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = `${style.fontSize} ${style.fontFamily}`;
  return Math.max(0, pen.measureText(field.placeholder).width - field.clientWidth);
}"""


def texts(language: str) -> dict[str, Any]:
    return dict(json.loads((STRINGS / f"{language}.json").read_text(encoding="utf-8")))


def shown(page: Page, selector: str) -> str:
    return re.sub(r"\s+", " ", page.inner_text(selector)).strip()


@pytest.mark.parametrize("locale", LOCALES)
def test_the_first_screen_is_in_the_browser_s_language(visiting: Visiting, site: str, locale: str) -> None:
    expected = texts(LOCALES[locale])
    for screen in SCREENS:
        with visiting(f"{site}/#c=shapes", locale=locale, viewport=screen) as page:
            page.wait_for_selector(".card")
            settled(page)
            assert page.get_attribute("html", "lang").startswith(LOCALES[locale])
            for element in page.query_selector_all("[data-t]:not(#state *)"):
                if element.is_visible():
                    assert element.inner_text().strip() == expected[element.get_attribute("data-t")]
            assert page.get_attribute("#words", "placeholder") == expected["search.placeholder"]
            assert page.get_attribute("#results", "aria-label") == expected["results.list"]
            assert page.inner_text("#summary") == expected["summary.all"].replace("{collection}", "shapes")
            assert page.get_attribute("#state", "title") == expected["state.model"].replace("{model}", "hashing")
            assert page.evaluate(_CUT) == []
            assert page.evaluate(_LACKING) == 0


@pytest.mark.parametrize("locale", LOCALES)
def test_an_answer_is_in_the_browser_s_language(visiting: Visiting, site: str, locale: str) -> None:
    expected = texts(LOCALES[locale])
    with visiting(f"{site}/#c=shapes", locale=locale, viewport=SCREENS[1]) as page:
        page.wait_for_selector(".card")
        for panel in ("palette", "drawing", "filters"):
            page.click(f"#open-{panel}")
            page.wait_for_selector(f"#{panel}:not([hidden])")
            assert page.evaluate(_CUT) == [], panel
        page.fill("#words", "a blue bar")
        page.keyboard.press("Enter")
        page.wait_for_selector(".asking .card")
        settled(page)
        assert expected["count.results"]["other"].replace("{count}", "9") in page.inner_text("#summary")
        page.click(".card:first-child .picture")
        page.wait_for_selector("#details[open] #why")
        assert shown(page, "#why summary") == expected["why.this"]
        page.click("#why summary")
        page.wait_for_selector(".why-part")
        assert page.evaluate(_CUT) == []
        said = page.inner_text("#why")
        assert expected["why.rank"].replace("{rank}", "1") in said
        assert "{" not in page.inner_text("body")


@pytest.mark.parametrize(
    ("locale", "lang", "count", "day", "share"),
    [
        ("de-AT", "de", "1 234 Objekte", "17. Jänner 2024 um 10:20", "90 %"),
        ("en-GB", "en", "1,234 items", "17 January 2024 at 10:20", "90%"),
        ("ja-JP", "en", "1,234 items", "January 17, 2024 at 10:20 AM", "90%"),
        ("fr-FR", "fr", "1 234 éléments", "17 janvier 2024 à 10:20", "90 %"),
        ("zh-TW", "zh-Hans", "1,234 项", "2024年1月17日", "90%"),
    ],
)
def test_numbers_and_dates_are_written_as_in_the_browser_s_region(
    visiting: Visiting, site: str, locale: str, lang: str, count: str, day: str, share: str
) -> None:
    source = """async () => {
      const { t, percent } = await import("/web/language.js");
      const { readableDate } = await import("/web/words.js");
      return [t("count.items", { count: 1234 }), readableDate("2024-01-17T10:20:00+02:00"), percent(0.9)];
    }"""
    with visiting(f"{site}/#c=shapes", locale=locale) as page:
        page.wait_for_selector(".card")
        assert page.get_attribute("html", "lang") == lang
        said = [re.sub(r"\s", " ", one) for one in page.evaluate(source)]
    assert (said[0], said[2]) == (count, share)
    assert said[1].startswith(day)


def test_the_map_is_in_the_browser_s_language(visiting: Visiting, site: str) -> None:
    expected = texts("de")
    with visiting(f"{site}/web/map.html#c=shapes", locale="de-DE") as page:
        page.wait_for_selector("#about:has-text('9 Objekte')")
        assert page.inner_text("h1") == expected["map.title"].replace("{collection}", "shapes")
        assert page.inner_text("#back") == expected["map.back"]
