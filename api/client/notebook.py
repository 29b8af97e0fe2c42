"""The display of results in a notebook: thumbnails, with keys and scores."""

import base64
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from html import escape

from anyseek.api.errors import ApiError
from anyseek.search.answers.results import Hit, Results

_MAX_HITS = 48
_FIGURE = (
    '<figure style="display:inline-block;width:10em;margin:.3em;vertical-align:top">{picture}'
    '<figcaption style="overflow-wrap:anywhere;font-size:.8em">{caption}</figcaption></figure>'
)
_IMAGE = '<img style="max-width:100%;max-height:10em" alt="" src="data:image;base64,{}">'


class NotebookResults(Results):
    """Results that a notebook displays with the thumbnails of their hits."""

    _thumbnail: Callable[[Hit], bytes] | None

    @classmethod
    def of(cls, results: Results, thumbnail: Callable[[Hit], bytes] | None) -> "NotebookResults":
        displayable = cls(**{field.name: getattr(results, field.name) for field in fields(results)})
        object.__setattr__(displayable, "_thumbnail", thumbnail)
        return displayable

    def _repr_html_(self) -> str:
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        return note + "".join(self._figure(hit) for hit in self.hits[:_MAX_HITS])

    def _figure(self, hit: Hit) -> str:
        picture = ""
        if self._thumbnail is not None:
            with suppress(ApiError):  # an item of words alone, or one that was deleted meanwhile
                picture = _IMAGE.format(base64.b64encode(self._thumbnail(hit)).decode("ascii"))
        caption = escape(f"{hit.rank}. {hit.key} ({hit.score:.3f})")
        return _FIGURE.format(picture=picture, caption=caption)
