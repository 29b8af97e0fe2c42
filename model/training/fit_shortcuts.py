"""Fit the shortcuts on training rows: which own vectors should lead to which targets."""

import numpy as np

from model.shortcuts import Shortcuts
from model.tiny import SEMANTIC, VISUAL
from model.training.concepts import Split
from model.training.rows import DRAWING, PICTURE
from model.training.store import FloatArray, Store, Texts, semantic_targets


def fit_shortcuts(store: Store, texts: Texts) -> Shortcuts:
    """Shortcuts fitted in closed form; only their gains and shares are trained afterwards."""
    shortcuts = Shortcuts()
    by_subject, by_group = store.pictures_by("subject"), store.pictures_by("group")
    drawings = _balanced_drawings(store, by_subject)
    shortcuts.fit("canny_edge", VISUAL, store.pooled[drawings], _drawn_pictures(store, by_subject, by_group, drawings))
    pictures = [int(n) for n in store.where(Split.TRAIN, PICTURE)]
    others = {n: _other_vendors(store, by_group, n) for n in pictures}
    paired = [n for n in pictures if others[n]]
    shortcuts.fit("rgb", VISUAL, store.pooled[paired], _means(store, [others[n] for n in paired]))
    sentences = semantic_targets(texts, (row.subject for row in store.rows))
    for modality, rows in (("rgb", pictures), ("canny_edge", drawings)):
        chosen = [n for n in rows if store.rows[n].subject in sentences]
        wanted = np.stack([sentences[store.rows[n].subject] for n in chosen])
        shortcuts.fit(modality, SEMANTIC, store.pooled[chosen], wanted)
    _fit_captions(shortcuts, store, texts, by_group)
    _fit_palettes(shortcuts, store, texts)
    return shortcuts


def _balanced_drawings(store: Store, by_subject: dict[str, list[int]]) -> list[int]:
    """All drawings of emoji and every fourth of photos and clip art, which would outweigh them."""
    drawings = [int(n) for n in store.where(Split.TRAIN, DRAWING) if store.rows[n].subject in by_subject]
    return [n for n in drawings if store.rows[n].source not in ("photo", "clipart") or n % 4 == 0]


def _drawn_pictures(
    store: Store, by_subject: dict[str, list[int]], by_group: dict[str, list[int]], drawings: list[int]
) -> FloatArray:
    """What drawings should find: halfway between the subject's own picture and other vendors' of its concept."""
    own = store.pooled[[by_subject[store.rows[n].subject][0] for n in drawings]]
    others = [_other_vendors(store, by_group, n) or by_subject[store.rows[n].subject] for n in drawings]
    halfway: FloatArray = np.stack([own, _means(store, others)]).mean(axis=0, dtype=np.float32)
    return halfway


def _fit_captions(shortcuts: Shortcuts, store: Store, texts: Texts, by_group: dict[str, list[int]]) -> None:
    """Every text of every training subject: to the pictures of its concept, and to its subject's sentence vector."""
    group_of = {store.rows[n].subject: store.rows[n].group for n in store.where(Split.TRAIN)}
    said = [(subject, text) for subject in group_of for text in texts.of_subject.get(subject, [])]
    own = texts.pooled[[text for _, text in said]]
    shown = [by_group.get(group_of[subject], []) for subject, _ in said]
    seen = [n for n, pictures in enumerate(shown) if pictures]
    shortcuts.fit("caption", VISUAL, own[seen], _means(store, [shown[n] for n in seen]))
    targets = semantic_targets(texts, group_of)
    shortcuts.fit("caption", SEMANTIC, own, np.stack([targets[subject] for subject, _ in said]))


def _fit_palettes(shortcuts: Shortcuts, store: Store, texts: Texts) -> None:
    """The encoded palettes of training pictures: to the picture, and to its sentence vector."""
    rows = [n for n in store.encoded_palettes if store.rows[n].split is Split.TRAIN]
    sentences = semantic_targets(texts, (store.rows[n].subject for n in rows))
    meant = [n for n in rows if store.rows[n].subject in sentences]
    shortcuts.fit("color_palette", VISUAL, _palettes(store, rows), store.pooled[rows])
    wanted = np.stack([sentences[store.rows[n].subject] for n in meant])
    shortcuts.fit("color_palette", SEMANTIC, _palettes(store, meant), wanted)


def _palettes(store: Store, rows: list[int]) -> FloatArray:
    return np.stack([store.encoded_palettes[n][1] for n in rows])


def _other_vendors(store: Store, by_group: dict[str, list[int]], row: int) -> list[int]:
    """Plain pictures of the row's concept by others; none for photos, whose group is only a label."""
    one = store.rows[row]
    if one.source == "photo":
        return []
    return [n for n in by_group[one.group] if store.rows[n].subject != one.subject]


def _means(store: Store, groups: list[list[int]]) -> FloatArray:
    return np.stack([store.pooled[numbers].mean(axis=0) for numbers in groups])
