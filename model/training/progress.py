"""How a network in training does on development concepts: numbers to watch, never reported as results."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.tiny import LONGEST_CAPTION
from model.training.batches import Batch, empty_arrays, write_palette
from model.training.concepts import Split
from model.training.objective import Objective
from model.training.rows import COLOUR_VENDORS
from model.training.store import Store, Texts

# (place of the right picture in the gallery, what is asked: slot -> row or text)
Asked = list[tuple[int, dict[str, int]]]


@torch.inference_mode()
def development_recall(objective: Objective, store: Store, texts: Texts) -> str:
    """R@1 and R@10 (in percent) of each kind of query among the OpenMoji pictures of the development concepts."""
    gallery = development_gallery(store)
    pictures = [gallery[group] for group in gallery]
    exact = torch.from_numpy(store.pooled[pictures])
    exact = F.normalize(exact - exact.mean(dim=0), dim=1)
    predicted = _embed(objective, store, texts, [{"picture": n} for n in pictures])[1]
    predicted = F.normalize(predicted - predicted.mean(dim=0), dim=1)
    lines = []
    for name, queries in development_queries(store, texts, gallery).items():
        right = torch.tensor([place for place, _ in queries])
        visual, semantic = _embed(objective, store, texts, [query for _, query in queries])
        own = own_vectors(store, [query for _, query in queries])
        scores = {"visual": visual @ exact.T, "semantic": semantic @ predicted.T, "own": own @ exact.T}
        lines.append(f"  {name} ({len(queries)}): " + ", ".join(f"{k} {_recall(s, right)}" for k, s in scores.items()))
    return "\n".join(lines)


def own_vectors(store: Store, queries: Sequence[dict[str, int]]) -> Tensor:
    """The baseline: the encoder's own centred vectors of the queries' maps, zeros for other queries."""
    numbers = [query.get("picture", query.get("drawing", -1)) for query in queries]
    if min(numbers) < 0:
        return torch.zeros(len(queries), store.pooled.shape[1])
    own = torch.from_numpy(store.pooled[numbers])
    return F.normalize(own - own.mean(dim=0), dim=1)


def development_gallery(store: Store) -> dict[str, int]:
    """One plain OpenMoji picture a development concept."""
    rows = store.where(Split.DEVELOPMENT, "picture", "plain")
    found: dict[str, int] = {}
    for n in rows:
        if store.rows[n].source == "openmoji":
            found.setdefault(store.rows[n].group, int(n))
    return found


def development_queries(
    store: Store, texts: Texts, gallery: dict[str, int]
) -> dict[str, list[tuple[int, dict[str, int]]]]:
    """Kind of query -> (place of the right picture, what is asked)."""
    places = {store.rows[n].subject: place for place, n in enumerate(gallery.values())}
    groups = {group: place for place, group in enumerate(gallery)}
    kinds = {
        "line": ("openmoji", "line", "drawing"),
        "changed line": ("openmoji", "lineChanged-1", "drawing"),
        "fluent line": ("fluent-line", "line", "drawing"),
        "edges": ("openmoji", "edges", "drawing"),
        **{f"{vendor} picture": (vendor, "plain", "picture") for vendor in COLOUR_VENDORS},
    }
    found: dict[str, Asked] = {name: [] for name in kinds}
    for n in store.where(Split.DEVELOPMENT):
        row = store.rows[n]
        for name, (source, recipe, slot) in kinds.items():
            place = places.get(row.subject) if source == "openmoji" else groups.get(row.group)
            if (row.source, row.recipe) == (source, recipe) and place is not None:
                found[name].append((place, {slot: int(n)}))
    found["caption"] = [(p, {"caption": texts.of_subject[s][0]}) for s, p in places.items() if texts.of_subject.get(s)]
    found["palette"] = [(p, {"palette": n}) for p, n in enumerate(gallery.values())]
    return {name: queries for name, queries in found.items() if queries}


def whole_batch(store: Store, texts: Texts, queries: Sequence[dict[str, int]]) -> Batch:
    """A batch of queries that show all their tokens: `picture`, `drawing`, `palette` name rows, `caption` a text."""
    arrays = empty_arrays(len(queries))
    for place, query in enumerate(queries):
        for slot, name in enumerate(("picture", "drawing")):
            if name in query:
                arrays[name][place] = store.maps[query[name]]
                arrays[f"{name}_mask"][place] = False
                arrays["own_visual"][place, slot] = store.pooled[query[name]]
        if "caption" in query:
            first, last = texts.offsets[query["caption"] : query["caption"] + 2]
            states = texts.states[first:last][:LONGEST_CAPTION]
            arrays["caption"][place, : len(states)] = states
            arrays["caption_mask"][place, : len(states)] = False
            arrays["own_semantic"][place] = texts.pooled[query["caption"]]
        if "palette" in query:
            write_palette(arrays, place, store, query["palette"])
    return Batch.from_arrays(arrays)


def _embed(
    objective: Objective, store: Store, texts: Texts, queries: Sequence[dict[str, int]]
) -> tuple[Tensor, Tensor]:
    """Centred vectors (n, 1280) and (n, 384) of queries."""
    batch = whole_batch(store, texts, queries)
    return objective.query_vectors(objective.logits(batch), batch)


def _recall(scores: Tensor, right: Tensor) -> str:
    better = (scores >= scores.gather(1, right[:, None])).sum(dim=1).numpy()
    return "/".join(f"{100 * np.mean(better <= k):.0f}" for k in (1, 10))
