"""What people may call a picture: several texts for each emoji, photo label and clip art folder."""

from collections.abc import Mapping
from pathlib import Path

from model.training.concepts import Concept
from model.training.rows import Row, clipart_words

_FRAMES = ("a picture of {}", "a drawing of {}", "{} icon", "an emoji of {}", "find {}", "a simple {} symbol")
_PHOTO_FRAMES = ("a photo of {}", "{}", "a picture of a {}", "a photo with a {} in it", "{}, photographed")


def emoji_texts(concept: Concept) -> list[str]:
    """Texts of an emoji, its label first: label and tags, plain, joined and in frames."""
    label = concept.label.replace(":", "")
    tags = [tag for tag in concept.tags if tag != concept.label][:6]
    texts = [concept.label, _FRAMES[0].format(label), _FRAMES[1 + len(label) % 5].format(label)]
    texts += [f"{label}, {', '.join(tags[:3])}", " ".join(tags[:4])] if tags else []
    texts += [f"a {tag} {label}" for tag in tags[:1]]
    texts += [*tags[:2], _FRAMES[1 + len(label) % 3].format(tags[-1])] if tags else []
    return list(dict.fromkeys(text for text in texts if text.strip()))


def photo_texts(label: str) -> list[str]:
    """Texts of a photo with this label, `a photo of LABEL` first."""
    return [frame.format(label) for frame in _PHOTO_FRAMES]


def clipart_texts(key: str) -> list[str]:
    """Texts of a clip art: its folder and, as far as it reads like words, its file name."""
    folder = clipart_words(key)
    name = " ".join(word for word in Path(key).stem.replace("-", "_").split("_")[:3] if word.isalpha())
    return [f"clip art of {folder}", *([name, f"{name}, {folder}"] if name else [])]


def texts_of(row: Row, concepts: Mapping[str, Concept], labels: Mapping[str, str]) -> list[str]:
    """The texts of a row's subject; empty for emoji outside emojibase."""
    if row.source == "photo":
        return photo_texts(labels[row.key])
    if row.source == "clipart":
        return clipart_texts(row.key)
    concept = concepts.get(row.key)
    return emoji_texts(concept) if concept else []
