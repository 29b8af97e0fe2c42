"""Caption labeller: fills templates with labels and tags, and marks the results as templated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anyseek.model.data.registry import LabellerKind
from anyseek.model.data.samples import Caption, DataSample, Origin

_EMOJI = ("a picture of {}", "a drawing of {}", "{} icon", "an emoji of {}", "find {}", "a simple {} symbol")
_PHOTO = ("a {medium} of {}", "{}", "a picture of a {}", "a {medium} with a {} in it", "{}, photographed")
EMOJI, PHOTO, CLIP_ART = "emoji", "photo", "clip art"


def template_texts(medium: str, label: str, tags: Sequence[str]) -> list[str]:
    """Texts of a thing, each once. Media without frames of their own are described as photos are, by their name."""
    if medium == EMOJI:
        return emoji_texts(label, tags)
    if medium == CLIP_ART:
        return clipart_texts(label, tags)
    broader = [text for tag in tags for text in (f"{label}, {tag}", f"a {medium} of {tag}")]
    return [*photo_texts(label, medium), *broader]


def emoji_texts(label: str, tags: Sequence[str]) -> list[str]:
    """Texts of an emoji, its label first: label and tags, plain, joined and in frames."""
    name = label.replace(":", "")
    others = [tag for tag in tags if tag != label][:6]
    texts = [label, _EMOJI[0].format(name), _EMOJI[1 + len(name) % 5].format(name)]
    texts += [f"{name}, {', '.join(others[:3])}", " ".join(others[:4])] if others else []
    texts += [f"a {tag} {name}" for tag in others[:1]]
    texts += [*others[:2], _EMOJI[1 + len(name) % 3].format(others[-1])] if others else []
    return list(dict.fromkeys(text for text in texts if text.strip()))


def photo_texts(label: str, medium: str = PHOTO) -> list[str]:
    """Texts of a photo with this label, `a photo of LABEL` first."""
    frames = _PHOTO if medium == PHOTO else _PHOTO[:-1]
    return [frame.format(label, medium=medium) for frame in frames]


def clipart_texts(subject: str, names: Sequence[str]) -> list[str]:
    """Texts of clip art: its subject and the words of its name, as far as it has any."""
    return [f"clip art of {subject}", *(text for name in names for text in (name, f"{name}, {subject}"))]


@dataclass(frozen=True)
class Options:
    """There is nothing to set."""


@dataclass(frozen=True)
class TemplateCaption:
    """Make `caption` from the attributes `label`, `tags` and `medium`, appended to the captions already present.

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
