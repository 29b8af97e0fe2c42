"""What people wrote about a photo into its file: title, description, keywords and rating.

Programs write them as XMP, older ones as IPTC; where both have a field, XMP's counts.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

LONGEST = {"title": 500, "description": 2_000, "keyword": 100}
MOST_KEYWORDS = 100
_LARGEST_XMP = 1024 * 1024  # longer ones hold pictures or the history of edits

_RDF, _DC = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}", "{http://purl.org/dc/elements/1.1/}"
_RATING = "{http://ns.adobe.com/xap/1.0/}Rating"
_TIMES = (
    "{http://ns.adobe.com/exif/1.0/}DateTimeOriginal",
    "{http://ns.adobe.com/photoshop/1.0/}DateCreated",
    "{http://ns.adobe.com/xap/1.0/}CreateDate",
)

# Datasets of IPTC's application record, by name.
_IPTC = {5: "title", 25: "keywords", 120: "description"}
_IPTC_MARKER, _IPTC_RECORD = 0x1C, 2
_MOST_DATASETS = 2_000

# Cameras write their own name as the description of every photo.
_OF_A_CAMERA = re.compile(r"(\w+ )?digital camera|sony dsc|samsung( camera pictures)?|dcim.*|default|untitled", re.I)


@dataclass(frozen=True)
class Words:
    """What is written; `rating` from -1 (rejected) over 0 (none) to 5, `taken` as XMP writes times."""

    title: str | None = None
    description: str | None = None
    keywords: Sequence[str] = ()
    rating: int | None = None
    taken: str | None = None


def read_words(xmp: bytes | None, iptc: bytes | None) -> Words:
    """The words of both; none of what is damaged."""
    newer, older = _of_xmp(xmp or b""), _of_iptc(iptc or b"")
    return Words(
        newer.title or older.title,
        newer.description or older.description,
        newer.keywords or older.keywords,
        newer.rating,
        newer.taken,
    )


def caption_of(words: Words, longest: int) -> str | None:
    """Title, description and keywords as one text; those that would make it too long are left out."""
    caption = ""
    different = dict.fromkeys(part for part in (words.title, words.description) if part)
    for part in (*different, ", ".join(words.keywords)):
        joined = f"{caption}{' ' if caption.endswith(('.', '!', '?')) else '. '}{part}" if caption else part
        caption = joined if len(joined) <= longest else caption
    return caption or None


def _of_xmp(data: bytes) -> Words:
    root = _parsed(data)
    if root is None:
        return Words()
    fields = _fields(root)
    return Words(
        _first(fields.get(f"{_DC}title", ()), "title"),
        _first(fields.get(f"{_DC}description", ()), "description"),
        _keywords(fields.get(f"{_DC}subject", ())),
        _rating(fields.get(_RATING, ())),
        next((fields[name][0] for name in _TIMES if fields.get(name)), None),
    )


def _parsed(data: bytes) -> ElementTree.Element | None:
    """The document, which may have no declarations: with entities a short one can stand for gigabytes."""
    if not 0 < len(data) <= _LARGEST_XMP:
        return None
    text = data.decode("utf-8", "replace").strip("\0\ufeff \r\n\t")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None


def _fields(root: ElementTree.Element) -> Mapping[str, list[str]]:
    """The texts of each property; XMP writes them as attributes, as elements, or as lists in elements."""
    found: dict[str, list[str]] = {}
    for description in root.iter(f"{_RDF}Description"):
        for name, text in description.attrib.items():
            found.setdefault(name, []).append(text)
        for element in description:
            found.setdefault(element.tag, []).extend(_texts(element))
    return found


def _texts(element: ElementTree.Element) -> Iterator[str]:
    entries = list(element.iter(f"{_RDF}li"))
    for entry in entries or [element]:
        if entry.text:
            yield entry.text


def _of_iptc(data: bytes) -> Words:
    found: dict[str, list[str]] = {}
    for number, value in _datasets(data):
        if number in _IPTC:
            found.setdefault(_IPTC[number], []).append(_decoded(value))
    return Words(
        _first(found.get("title", ()), "title"),
        _first(found.get("description", ()), "description"),
        _keywords(found.get("keywords", ())),
    )


def _datasets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The datasets of the application record: a marker, record, number and two bytes of length before each."""
    place = 0
    for _ in range(_MOST_DATASETS):
        head = data[place : place + 5]
        length = int.from_bytes(head[3:5], "big")
        if len(head) < 5 or head[0] != _IPTC_MARKER or length >= 0x8000:
            return
        if head[1] == _IPTC_RECORD:
            yield head[2], data[place + 5 : place + 5 + length]
        place += 5 + length


def _decoded(value: bytes) -> str:
    """UTF-8 as newer programs write, else Latin 1; what the file says of its encoding is often wrong."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _first(texts: Iterable[str], name: str) -> str | None:
    for text in texts:
        tidy = _tidy(text)[: LONGEST[name]]
        if tidy and not _OF_A_CAMERA.fullmatch(tidy):
            return tidy
    return None


def _keywords(texts: Iterable[str]) -> tuple[str, ...]:
    tidy = (_tidy(text)[: LONGEST["keyword"]] for text in texts)
    return tuple(dict.fromkeys(text for text in tidy if text))[:MOST_KEYWORDS]


def _rating(texts: Sequence[str]) -> int | None:
    """The number, which some programs write as a fraction."""
    try:
        rating = round(float(texts[0]))
    except (IndexError, ValueError, OverflowError):
        return None
    return rating if -1 <= rating <= 5 else None


def _tidy(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", " ", text).split())
