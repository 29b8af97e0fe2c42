"""Addresses: keys, cursors, numbers and parameters, for every verb."""

from random import Random

from tests.fuzz import values
from tests.fuzz.sent import Sent

_READ = (
    "/v1/collections/{c}", "/v1/collections/{c}/items", "/v1/collections/{c}/items/{k}",
    "/v1/collections/{c}/facets", "/v1/collections/{c}/folders", "/v1/collections/{c}/thumbnails/{k}",
    "/v1/collections/{c}/assets/{t}/{k}", "/v1/collections/{c}/query", "/v1/collections/{c}/map",
    "/v1/collections/{c}/duplicates", "/v1/jobs", "/v1/jobs/{n}",
    "/v1/jobs/{n}/failures", "/v1/jobs/{n}/skipped", "/v1/jobs/{n}/events", "/v1/folders", "/v1/audit",
    "/v1/quota",
    "/v1/models", "/metrics", "/readyz", "/healthz", "/{t}", "/v1/{t}/{k}", "/static/{t}", "/credits", "/docs",
    "/openapi.json",
)  # fmt: skip
_CHANGED = (
    ("DELETE", "/v1/collections/{t}"), ("DELETE", "/v1/collections/{c}/items/{t}"), ("POST", "/v1/jobs/{n}/cancel"),
    ("POST", "/v1/jobs/{n}/retry"), ("POST", "/v1/collections/{c}/rollback"), ("POST", "/v1/collections/{c}/switch"),
    ("POST", "/v1/collections/{c}/forget-old"), ("DELETE", "/v1/collections/{c}/tuning"),
    ("PATCH", "/v1/collections/{c}"),
    ("OPTIONS", "/v1/collections/{c}/query"), ("HEAD", "/v1/collections/{c}/items/{k}"), ("TRACE", "/v1/jobs"),
    ("{t}", "/v1/jobs"),
)  # fmt: skip
_PARAMETERS = (
    "after", "before", "limit", "sort", "where", "folder", "fields", "values", "path", "text", "item", "palette",
    "words", "k", "offset", "min_score", "vectors", "group_by", "group_size", "space", "fusion", "action", "who",
    "since", "facets", "spaces", "cursor", "explain", "explain_keys", "min_probability", "colour_by",
    "seed",
)  # fmt: skip
_CURSORS = (
    "0",
    "-1",
    str(2**63 - 1),
    str(2**63),
    "9" * 400,
    "NaN",
    "newest:",
    "1e3",
    "x",
    "oldest:nan:x",
    "2024-05-01T00:00:00:x",
    "+1",
)
_HEADERS = (
    "if-none-match",
    "accept",
    "range",
    "authorization",
    "x-request-id",
    "cookie",
    "content-type",
    "accept-language",
    "if-match",
)


def make(random: Random) -> Sent:
    """A request without a body."""
    method, path = ("GET", random.choice(_READ)) if random.random() < 0.75 else random.choice(_CHANGED)
    number = random.choice(_CURSORS) if random.random() < 0.7 else values.text(random)
    filled = path.format(
        c=values.quoted(values.collection(random)),
        k=values.quoted(values.key(random)),
        n=values.quoted(number),
        t=values.quoted(values.text(random)),
    )
    count = random.choice((0, 0, 1, 1, 2, 5))
    given = "&".join(f"{_parameter(random)}={values.quoted(_value(random))}" for _ in range(count))
    verb = random.choice(("GETT", "get", "PROPFIND")) if method == "{t}" else method
    return Sent(verb, f"{filled}?{given}" if given else filled, headers=_headers(random))


def _parameter(random: Random) -> str:
    return random.choice(_PARAMETERS) if random.random() < 0.95 else values.quoted(values.text(random))


def _value(random: Random) -> str:
    return random.choice((*_CURSORS, *values.KEYS)) if random.random() < 0.5 else values.text(random)


def _headers(random: Random) -> dict[str, str]:
    if random.random() < 0.8:
        return {}
    safe = "".join(sign for sign in values.text(random)[:500] if 32 < ord(sign) < 127)
    return {random.choice(_HEADERS): safe}
