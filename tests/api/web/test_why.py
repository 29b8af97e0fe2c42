"""An open item says why it was found."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.api.conftest import picture
from tests.api.web.views import Page, give, settled
from tests.model.modalities.photographed_sketches import photographed


def _open(page: Page, words: str, key: str) -> None:
    page.fill("#words", words)
    page.keyboard.press("Enter")
    page.wait_for_selector(".asking .card")
    settled(page)
    page.click(f".card[data-key='{key}'] .picture")
    page.wait_for_selector("#why")


def test_a_hit_says_what_each_part_contributed(page: Page) -> None:
    page.click("#open-palette")
    page.click("#presets .swatch[aria-label='Add red']")
    _open(page, "a blue disc", "red disc")
    page.click("#why summary")
    page.wait_for_selector(".why-part")
    assert page.inner_text("#why summary") == "Why this?"
    titles = page.locator(".why-part h3").all_inner_texts()
    assert titles == ["“a blue disc”", "colours"]
    said = page.inner_text(".why-part >> nth=0")
    assert "Alone it puts this at place" in said
    assert "Without it this would be at place" in said
    assert page.locator(".why-part >> nth=0").locator(".shared-word").all_inner_texts() == ["disc"]
    assert page.get_attribute(".shared-word", "title") == "key, caption"
    widths = page.locator(".share").evaluate_all("(all) => all.map((each) => parseFloat(each.style.width))")
    assert max(widths) == 100


def test_the_next_item_is_explained_anew(page: Page) -> None:
    _open(page, "a blue disc", "blue disc")
    page.click("#why summary")
    page.wait_for_selector(".why-part")
    assert "It is at place 1." in page.inner_text("#why")
    page.click("#next")
    page.wait_for_selector("#why:not([open])")
    page.click("#why summary")
    page.wait_for_selector("#why >> text=It is at place 2.")


def test_what_is_only_looked_at_is_not_explained(page: Page) -> None:
    page.click(".card .picture")
    page.wait_for_selector("#details[open] dl")
    settled(page)
    assert not page.query_selector("#why")


def _predicted_from(page: Page) -> dict[str, Any]:
    """What the page sends to predict of the query, when it is asked what the model sees in both."""
    page.route("**/v1/predict", lambda route: route.fulfill(json={"predictions": []}))  # this model predicts nothing
    page.click("#why summary")
    page.wait_for_selector("#compare")
    with page.expect_request("**/v1/predict") as sent:
        page.click("#compare")
    (given,) = sent.value.post_data_json["inputs"]
    return dict(given)


def test_what_the_model_sees_is_of_the_chosen_part_of_the_picture(page: Page) -> None:
    page.click(".card[data-key='red disc'] .picture")
    page.click("#choose-part")
    page.wait_for_selector("#details .region:focus")
    with page.expect_request("**/query") as asked:
        page.click("text=Search this region")
    page.wait_for_selector(".asking .card")
    settled(page)
    (part,) = asked.value.post_data_json["parts"]
    page.click(".card .picture")
    given = _predicted_from(page)
    assert given["modality"] == "rgb"
    assert given["box"] == part["box"]


def test_what_the_model_sees_is_of_the_file_as_it_was_understood(page: Page) -> None:
    drawing = Image.open(io.BytesIO(picture("red", "disc", outline=True))).convert("L").resize((400, 400))
    give(page, "drop", "sketch.jpg", photographed(np.asarray(drawing), np.random.default_rng(0)))
    page.wait_for_selector(".chip")
    page.select_option(".chip .what select", "canny_edge")
    page.wait_for_selector(".chip .understood")
    settled(page)
    page.click(".card .picture")
    given = _predicted_from(page)
    assert given["modality"] == "canny_edge"
    assert given["form"] == "photographed"


@pytest.mark.parametrize(
    ("of_query", "of_hit", "shown"),
    [
        ((None, None), (0.9, True), ["—", "a photo of a disc (90% sure)"]),
        ((None, None), (0.4, False), None),
        ((0.8, True), (0.4, False), ["a photo of a disc (80% sure)", "—"]),
        ((None, None), (None, None), ["a photo of a disc"] * 2),  # a model that rates no captions
    ],
)
def test_captions_that_the_model_is_not_sure_of_are_left_out(
    page: Page, of_query: tuple[float, bool], of_hit: tuple[float, bool], shown: list[str] | None
) -> None:
    said = [
        {"modality": "caption", "value": "a photo of a disc", "files": [], "confidence": confidence, "sure": sure}
        for confidence, sure in (of_query, of_hit)
    ]
    palette = {"modality": "color_palette", "value": ["#ff0000"], "files": []}
    page.route("**/v1/predict", lambda route: route.fulfill(json={"predictions": [said.pop(0), palette]}))
    page.click(".card[data-key='red disc'] .like")
    page.wait_for_selector(".chip[data-kind='item']")
    settled(page)
    page.click(".card .picture")
    page.click("#why summary")
    page.click("#compare")
    page.wait_for_selector(".compared table")
    rows = [row.locator("th, td").all_inner_texts() for row in page.locator(".compared tr").all()]
    assert {name: cells for name, *cells in rows}.get("words") == shown
    assert "colours" in [row[0] for row in rows]
