"""The word love, a drawn heart and red find the red heart first, on the page and with the bundled weights."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from anyseek import Client
from anyseek.api.service import Service, ServiceSettings
from anyseek.model.downloads.wheels import DownloadFailed
from anyseek.model.galleries.openmoji import Drawings, draw_svg, fetch_wheel, read_concepts
from anyseek.model.home import default_home
from anyseek.search.settings import Settings
from anyseek.workers.runtime import Runtime
from tests.api.conftest import listening
from tests.api.web.views import Visiting, keys, settled, stroke
from tests.encoders import link_encoders, pulled_encoders

pytestmark = pytest.mark.slow

KINDS = ("hearts", "affectionate", "fruit", "vegetables", "emotions")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with the bundled weights and emoji of some kinds, with every 16th of the others."""
    pulled_encoders()
    try:
        wheel = fetch_wheel(default_home() / "downloads")
    except DownloadFailed as error:
        pytest.skip(str(error))
    home = tmp_path_factory.mktemp("hearts")
    link_encoders(home)
    every = [concept for concept in read_concepts() if concept.caption]
    shown = [concept for concept in every if concept.subgroup in KINDS]
    shown += [concept for concept in every if concept.subgroup not in KINDS][::16]
    with Runtime.open(Settings(home), "4m-tiny") as runtime, listening(Service(runtime, ServiceSettings())) as url:
        with Client(url, patience=300) as client, Drawings(wheel) as drawings:
            client.create_collection("emoji")
            for concept in shown:
                file = io.BytesIO()
                Image.fromarray(draw_svg(drawings[concept.hexcode])).save(file, "PNG")
                client.put_item("emoji", concept.caption, {"rgb": file.getvalue()})
        yield url


def test_love_a_drawn_heart_and_red_find_the_red_heart_first(visiting: Visiting, url: str) -> None:
    with visiting(f"{url}/#c=emoji") as page:
        page.set_default_timeout(120_000)
        page.wait_for_selector(".card")
        page.wait_for_selector("#state.ready")
        page.fill("#words", "love")
        page.keyboard.press("Enter")
        page.wait_for_selector(".card .score")
        page.click("#open-drawing")
        stroke(page, "#canvas", *heart())
        page.wait_for_selector('.chip[data-kind="canny_edge"] img')
        settled(page)
        assert keys(page)[0] != "red heart", "the colour must decide"
        page.click("#open-palette")
        page.click('[aria-label="Add red"]')
        page.wait_for_selector('.chip[data-kind="color_palette"]')
        settled(page)
        page.wait_for_selector('.card:first-child[data-key="red heart"] .score', state="attached")


def heart() -> list[tuple[float, float]]:
    """Points around a heart, in shares of the sheet."""
    turn = np.linspace(0, 2 * np.pi, 60)
    across = 0.5 + 0.43 * np.sin(turn) ** 3
    down = 0.47 - 0.027 * (13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn))
    return list(zip(across.tolist(), down.tolist(), strict=True))
