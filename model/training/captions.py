"""What people may call a picture: several texts for each emoji, photo label and clip art folder."""

from collections.abc import Mapping

from model.data.sources.clipart import name_words, subject_of
from model.data.texts import clipart_texts, emoji_texts, photo_texts
from model.training.concepts import Concept
from model.training.rows import Row


def texts_of(row: Row, concepts: Mapping[str, Concept], labels: Mapping[str, str]) -> list[str]:
    """The texts of a row's subject; empty for emoji outside emojibase."""
    if row.source == "photo":
        return photo_texts(labels[row.key])
    if row.source == "clipart":
        return clipart_texts(subject_of(row.key), name_words(row.key))
    concept = concepts.get(row.key)
    return emoji_texts(concept.label, concept.tags) if concept else []
