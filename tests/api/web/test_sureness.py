"""How the page says which hits are less sure, by their probabilities; those of the tests are put into the answers."""

from collections.abc import Sequence
from typing import Any

from tests.api.web.views import Page, keys, settled, until

SEPARATOR = "#results [role=separator][aria-label='less sure below']"


def _rate(page: Page, probabilities: Sequence[float | None], note: str | None = None) -> None:
    """Give the first hits of all further answers these probabilities, and leave out hits as the service does."""

    def answer(route: Any) -> None:
        asked = route.request.post_data_json
        response = route.fetch(post_data={**asked, "min_probability": None})
        found = response.json()
        hits = [hit | {"probability": each} for hit, each in zip(found["hits"], probabilities, strict=False)]
        least = asked.get("min_probability") or 0
        left = [hit for hit in hits if hit["probability"] is None or hit["probability"] >= least]
        route.fulfill(json=found | {"hits": left, "note": note})

    page.route("**/query", answer)


def _ask(page: Page, words: str = "a blue bar") -> None:
    page.fill("#words", words)
    page.keyboard.press("Enter")
    page.wait_for_selector(".asking .card")
    settled(page)


def test_one_line_stands_before_the_first_hit_that_is_less_sure(page: Page) -> None:
    _rate(page, [0.9, 0.6, 0.4, 0.2])
    _ask(page)
    page.wait_for_selector(SEPARATOR)
    assert len(keys(page)) == 4
    order = "[...document.querySelectorAll('#results > :not(.filler)')].map((one) => one.className)"
    assert page.evaluate(order) == ["card", "card", "divider", "card", "card"]
    assert page.inner_text(SEPARATOR) == "less sure below"
    assert page.is_visible("#how-sure")
    page.click(".card:first-child .picture")
    page.wait_for_selector("#details[open] dd:has-text('90% likely, score ')")


def test_where_all_hits_are_sure_or_unrated_nothing_divides_them(page: Page) -> None:
    _rate(page, [None, None, None])
    _ask(page)
    assert len(keys(page)) == 3
    assert page.is_hidden("#how-sure")
    assert page.inner_text("#summary").startswith("3 results")
    assert not page.query_selector(SEPARATOR)
    page.unroute("**/query")
    _rate(page, [0.9, 0.8])
    _ask(page, "a red bar")
    assert len(keys(page)) == 2
    assert page.is_visible("#how-sure")
    assert not page.query_selector(SEPARATOR)


def test_where_no_hit_is_sure_one_sentence_above_them_says_so(page: Page) -> None:
    _rate(page, [0.4, 0.2])
    _ask(page)
    page.wait_for_selector("#summary:text-is('Not sure about any of these.')")
    assert not page.query_selector(SEPARATOR)
    assert len(keys(page)) == 2


def test_a_note_that_nothing_is_good_denies_nothing(page: Page) -> None:
    _rate(page, [0.02], "nothing good was found: the best item has a probability of 0.020")
    _ask(page)
    page.wait_for_selector("#summary:text-is('Perhaps none of these shows what you asked for.')")
    assert len(keys(page)) == 1


def test_the_slider_leaves_out_what_is_less_probable_and_says_so(page: Page) -> None:
    _rate(page, [0.95, 0.8, 0.3])
    _ask(page)
    page.focus("#sureness")
    page.keyboard.press("End")
    until(page, "document.querySelectorAll('.card').length === 1")
    assert "sure=0.9" in page.url
    assert page.inner_text("#sureness-text") == "at least 90%"
    page.unroute("**/query")
    _rate(page, [0.2])
    page.fill("#words", "quarterly tax report")
    page.keyboard.press("Enter")
    page.wait_for_selector("#empty h2:has-text('Nothing is that sure')")
    assert page.is_visible("#how-sure")
    page.click("#empty button")
    page.wait_for_selector(".card")
    assert page.inner_text("#sureness-text") == "any"
