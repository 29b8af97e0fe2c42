"""The page when there is nothing to search, the model is not there, a key is needed, or something goes wrong."""

from typing import Any

from anyseek import Client
from anyseek.api.http.security import Scope, create_key
from tests.api.conftest import StartService, picture
from tests.api.web.views import Visiting, settled, until

FIRST_PAINT_BYTES = 100_000


def test_a_strict_policy_lets_no_inline_script_run(browser: Any, site: str) -> None:
    opened = browser.new_context()
    page = opened.new_page()
    page.goto(site)
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.bad = 1'}))")
    assert page.evaluate("window.bad") is None
    opened.close()


def test_what_is_empty_says_how_to_begin_and_what_is_full_comes_first(
    visiting: Visiting, start_service: StartService
) -> None:
    url, _ = start_service()
    with visiting(url) as page:
        page.wait_for_selector("#empty:not([hidden])")
        assert "anyseek index FOLDER --collection photos" in page.inner_text("#empty")
        page.wait_for_selector("#state.ready")
    with Client(url, patience=20) as client:
        client.create_collection("a-empty")
        with visiting(url) as page:
            page.wait_for_selector("text=The collection a-empty is empty")
            assert "--collection a-empty" in page.inner_text("#empty")
        client.create_collection("b-full")
        client.put_item("b-full", "red disc", {"rgb": picture("red", "disc")})
    with visiting(url) as page:
        page.wait_for_selector(".card")
        assert page.input_value("#collection") == "b-full"


def test_an_unknown_collection_is_told_with_those_that_are_there(visiting: Visiting, site: str) -> None:
    with visiting(f"{site}/#c=nowhere") as page:
        page.wait_for_selector("text=There is no collection called nowhere")
        page.click("#empty a:text-is('shapes')")
        page.wait_for_selector("text=All of shapes")


def test_when_the_service_stops_the_page_says_so_and_goes_on_later(browser: Any, start_service: StartService) -> None:
    url, _ = start_service()
    with Client(url, patience=20) as client:
        client.create_collection("shapes")
        client.put_item("shapes", "red disc", {"rgb": picture("red", "disc")})
    opened = browser.new_context()
    page = opened.new_page()
    page.goto(url)
    page.wait_for_selector(".card")
    opened.set_offline(True)
    page.wait_for_selector("body.gone")  # nobody has to ask for it
    page.fill("#words", "red")
    page.keyboard.press("Enter")
    page.wait_for_selector("body.gone #state.failed")
    page.wait_for_selector("#error:has-text('from before')")
    assert page.inner_text("#state") == "no answer"
    opened.set_offline(False)
    page.wait_for_selector("body:not(.gone) #state.ready")
    page.wait_for_selector(".asking .card")
    assert page.is_hidden("#error")
    opened.close()


def test_the_page_waits_for_the_model_and_keeps_what_is_typed_meanwhile(
    visiting: Visiting, start_service: StartService
) -> None:
    url, service = start_service(lifespan="off")
    with visiting(url) as page:
        page.wait_for_selector("#state.loading")
        assert page.inner_text("#state") == "loading the model"
        page.fill("#words", "a red disc")
        service.start()
        page.wait_for_selector("#state.ready")
        settled(page)
        assert page.input_value("#words") == "a red disc"


def test_a_model_that_is_missing_is_told(browser: Any, start_service: StartService) -> None:
    url, _ = start_service(model="no-such-model")
    opened = browser.new_context()
    page = opened.new_page()
    page.goto(url)
    page.wait_for_selector("#error:not([hidden])")
    assert "no-such-model" in page.inner_text("#error")
    opened.close()


def test_with_api_keys_the_page_asks_for_one_and_shows_pictures(browser: Any, start_service: StartService) -> None:
    url, service = start_service()
    with Client(url, patience=20) as client:
        client.create_collection("shapes")
        client.put_item("shapes", "red disc", {"rgb": picture("red", "disc")})
    key = create_key(service.runtime.database, "page", Scope.READ)
    opened = browser.new_context()
    page = opened.new_page()
    page.goto(url)
    page.wait_for_selector("#key-dialog[open]")
    page.fill("#key", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#key-wrong:text('The API key is unknown, was revoked, or has expired.')")
    assert page.inner_text("#state") == "needs a key"
    page.fill("#key", key)
    page.keyboard.press("Enter")
    page.wait_for_selector(".card img")
    until(page, "document.querySelector('.card img').naturalWidth > 0")
    assert page.get_attribute(".card img", "src").startswith("blob:")
    opened.close()


def test_the_first_paint_is_small(browser: Any, site: str) -> None:
    page = browser.new_context().new_page()
    sent: dict[str, int] = {}
    page.on("requestfinished", lambda asked: sent.update({asked.url: asked.sizes()["responseBodySize"]}))
    page.goto(f"{site}/#c=shapes")
    page.wait_for_selector(".card img")
    page.wait_for_load_state("networkidle")
    page.context.close()
    assert len(sent) > 20
    own = {url: size for url, size in sent.items() if "/assets/" not in url}
    assert all(url.startswith(site) for url in sent)
    assert sum(own.values()) < FIRST_PAINT_BYTES, own


def test_the_api_is_described_on_a_page_of_its_own(visiting: Visiting, site: str) -> None:
    with visiting(f"{site}/docs") as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.click("#operations-models-list_models button >> nth=0")
        page.click(".execute")
        page.wait_for_selector(".live-responses-table")
        assert '"name": "hashing"' in page.inner_text(".live-responses-table")
        assert all(url.startswith((site, "data:")) for url in asked)
