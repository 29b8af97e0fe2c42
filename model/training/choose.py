"""Choose how much each shortcut adds, on development concepts: never on those that results are reported for."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from model.shortcuts import INPUTS
from model.tiny import SEMANTIC, VISUAL
from model.training.batches import Batch
from model.training.objective import Objective
from model.training.progress import development_gallery, development_queries, whole_batch
from model.training.store import Store, Texts

_GAINS = (0.25, 0.5, 1.0, 2.0, 4.0)
_SHARES = (0.5, 1.0, 2.0)  # relative to gains; never 0: a vendor that nothing was fitted on is known by its own vector
_MODALITY = {"picture": "rgb", "drawing": "canny_edge", "caption": "caption", "palette": "color_palette"}


@dataclass(frozen=True)
class Scale:
    """How much a shortcut adds: its ridge's gain, and the share of the own vector."""

    gain: float
    share: float


class Chooser:
    """Tries scales of shortcuts with predictions that are computed once; asks those in `kinds`, all unless given."""

    def __init__(
        self,
        objective: Objective,
        store: Store,
        texts: Texts,
        training: dict[str, Batch],
        kinds: Collection[str] | None = None,
    ) -> None:
        self._objective = objective
        self._training = {modality: _Asked(objective, batch) for modality, batch in training.items()}
        gallery = development_gallery(store)
        rows = list(gallery.values())
        self._exact = torch.from_numpy(store.pooled[rows])
        self._pictures = _Asked(objective, whole_batch(store, texts, [{"picture": n} for n in rows]))
        self._queries: dict[str, list[tuple[_Asked, Tensor]]] = {modality: [] for modality in INPUTS}
        for kind, queries in development_queries(store, texts, gallery).items():
            if kinds is not None and kind not in kinds:
                continue
            asked = _Asked(objective, whole_batch(store, texts, [query for _, query in queries]))
            right = torch.tensor([place for place, _ in queries])
            self._queries[_MODALITY[next(iter(queries[0][1]))]].append((asked, right))

    def choose(self, of_pictures: Scale | None = None) -> dict[str, str]:
        """Set the scales of all shortcuts that queries and galleries use; returns the best space of each modality.

        `of_pictures` is the scale from pictures to `visual_global` where something else has chosen it.
        """
        for modality in INPUTS:
            self.choose_one(modality, VISUAL, modality)
        if of_pictures is not None:
            self._objective.shortcuts.scale("rgb", VISUAL, of_pictures.gain, of_pictures.share)
        self.choose_one("rgb", SEMANTIC, "caption")
        self.choose_one("caption", SEMANTIC, "caption")
        spaces = {}
        for modality in INPUTS:
            found = {space: self._score(modality, space) for space in (VISUAL, SEMANTIC)}
            print(f"{modality}: " + ", ".join(f"{space} {score:.3f}" for space, score in found.items()), flush=True)
            spaces[modality] = max(found, key=lambda space: found[space])
        return spaces

    def choose_one(self, modality: str, space: str, asked: str) -> Scale:
        """Set one shortcut to the scale with which queries of modality `asked` do best, and return it."""
        shortcuts = self._objective.shortcuts
        tried = {}
        for gain, ratio in product(_GAINS, _SHARES):
            shortcuts.scale(modality, space, gain, gain * ratio)
            tried[gain, ratio] = self._score(asked, space)
        gain, ratio = max(tried, key=lambda pair: tried[pair])
        shortcuts.scale(modality, space, gain, gain * ratio)
        print(f"{modality} to {space}: gain {gain}, share {gain * ratio}, {tried[gain, ratio]:.3f}", flush=True)
        return Scale(gain, gain * ratio)

    def _score(self, modality: str, space: str) -> float:
        """Mean reciprocal rank over the kinds of queries of a modality, centred as the service does."""
        shortcuts = self._objective.shortcuts
        gallery = self._exact if space == VISUAL else self._pictures.vectors(shortcuts, space)
        gallery = F.normalize(gallery - gallery.mean(dim=0), dim=1)
        mean = self._training[modality].vectors(shortcuts, space).mean(dim=0)
        scores = []
        for asked, right in self._queries[modality]:
            found = F.normalize(asked.vectors(shortcuts, space) - mean, dim=1) @ gallery.T
            ranks = (found >= found.gather(1, right[:, None])).sum(dim=1)
            scores.append((1.0 / ranks).mean().item())
        return sum(scores) / len(scores)


class _Asked:
    """Queries with their predictions: what stays the same when shortcuts change."""

    @torch.inference_mode()
    def __init__(self, objective: Objective, batch: Batch) -> None:
        self._own = objective.own_vectors(batch)
        self._predicted = {name: objective.decoded(name, rows) for name, rows in objective.logits(batch).items()}

    @torch.inference_mode()
    def vectors(self, shortcuts: torch.nn.Module, space: str) -> Tensor:
        """Raw unit vectors (n, d) in a space."""
        return F.normalize(self._predicted[space] + shortcuts(self._own, space), dim=1)
