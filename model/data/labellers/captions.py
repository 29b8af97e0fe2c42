"""Labeller of captions: templates filled with labels and tags, marked as such."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model.data.registry import LabellerKind
from model.data.samples import Caption, DataSample, Origin
from model.data.texts import template_texts


@dataclass(frozen=True)
class Options:
    """There is nothing to set."""


@dataclass(frozen=True)
class TemplateCaption:
    """`caption` from the attributes `label`, `tags` and `medium`, after those that are there already.

    Samples without a label get none.
    """

    name: str = "caption"
    needs: frozenset[str] = frozenset()
    gives: frozenset[str] = frozenset({"caption"})

    def label(self, sample: DataSample) -> Mapping[str, Any]:
        about = sample.attributes
        if not about.get("label"):
            return {}
        there: tuple[Caption, ...] = sample.values.get("caption", ())
        texts = template_texts(about.get("medium", "picture"), about["label"], about.get("tags", ()))
        known = {caption.text for caption in there}
        return {"caption": there + tuple(Caption(text, Origin.TEMPLATE) for text in texts if text not in known)}


CAPTION = LabellerKind(Options, lambda options, place: TemplateCaption())
