"""Turn a training run into bundled weights.

    python -m model.training.export --cache C --run OUT --to FOLDER [--strange OUT2 --without VENDOR …]

Takes the averaged parameters, chooses default spaces and the shortcuts' scales on development concepts, measures the
means of query vectors on training rows, and writes the files with their manifest.

How far a picture should be found by its own vector cannot be told with vendors that training saw: the network knows
their style, and that of a user's pictures it does not. OUT2 is a run with the same settings that left out some vendors;
with it, the scale for pictures is that with which pictures of these vendors are found best.
"""

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from model.bundle import CONSTANTS, MANIFEST, NETWORK, PRIOR, PROJECTION, SHORTCUTS, fingerprint
from model.checkpoints import file_digest, load_vqvae, save_checkpoint
from model.feature_maps import load_projection
from model.tiny import SEMANTIC, VISUAL
from model.training.batches import Batch, Sampler
from model.training.choose import Chooser, Scale
from model.training.concepts import Split
from model.training.objective import Objective
from model.training.progress import whole_batch
from model.training.state import Averages, load_state
from model.training.store import load_store, load_texts
from model.training.train import SEED, build_objective, build_optimiser

_MEASURED = 600  # queries a mean is taken over
_GALLERY = {VISUAL: "exact", SEMANTIC: "predicted"}
LICENCE = "CC BY-SA 4.0 (weights; trained in part on CC BY-SA and CC BY art). The code's licence does not cover them."


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True, help="the folder of train_tokenizers and train")
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--strange", type=Path, help="the folder of a run that left vendors out")
    parser.add_argument("--without", nargs="*", default=[], help="the vendors that it left out")
    options = parser.parse_args()
    of_pictures = scale_of_pictures(options) if options.strange else None
    options.to.mkdir(parents=True, exist_ok=True)
    with trained_objective(options.cache, options.run, options.run) as (objective, sampler):
        queries = training_queries(sampler)
        spaces = Chooser(objective, sampler.store, sampler.texts, queries).choose(of_pictures)
        _write(objective, sampler, queries, options, spaces)


def scale_of_pictures(options: argparse.Namespace) -> Scale:
    """The scale with which pictures of vendors that a run never saw are found best."""
    kinds = [f"{vendor} picture" for vendor in options.without]
    with trained_objective(options.cache, options.run, options.strange, options.without) as (objective, sampler):
        queries = training_queries(sampler)
        return Chooser(objective, sampler.store, sampler.texts, queries, kinds).choose_one("rgb", VISUAL, "rgb")


@contextmanager
def trained_objective(
    cache: Path, tokenizers: Path, run: Path, without: Sequence[str] = ()
) -> Iterator[tuple[Objective, Sampler]]:
    """A run's objective with its averaged parameters, and the sampler of its data."""
    store, texts = load_store(cache, without), load_texts(cache)
    sampler = Sampler(store, texts, SEED)
    loaded = {name: load_vqvae(tokenizers / f"{name}.safetensors") for name in (VISUAL, SEMANTIC)}
    objective = build_objective(store, texts, sampler, loaded)
    trained = {name: p for name, p in objective.named_parameters() if p.requires_grad}
    averages = Averages(trained)
    load_state(run / "state.safetensors", trained, build_optimiser(trained), averages)
    with averages.applied(trained):
        yield objective, sampler


def _write(
    objective: Objective,
    sampler: Sampler,
    queries: dict[str, Batch],
    options: argparse.Namespace,
    spaces: dict[str, str],
) -> None:
    folder = options.to
    for name in (VISUAL, SEMANTIC):
        shutil.copyfile(options.run / f"{name}.safetensors", folder / f"{name}.safetensors")
    save_checkpoint(objective.network, folder / NETWORK, torch.bfloat16)
    projection = load_projection(options.cache / PROJECTION)
    save_file({name: t.half().contiguous() for name, t in projection.state_dict().items()}, folder / PROJECTION)
    save_file({name: t.half() for name, t in objective.shortcuts.state_dict().items()}, folder / SHORTCUTS)
    save_file(measure_constants(objective, sampler, queries), folder / CONSTANTS)
    files = sorted(path.name for path in folder.glob("*.safetensors"))
    manifest = {
        "name": folder.name,
        "licence": LICENCE,
        "files": {name: file_digest(folder / name) for name in files},
        "default_spaces": spaces,
        "gallery": _GALLERY,
    }
    manifest["fingerprint"] = fingerprint(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def measure_constants(objective: Objective, sampler: Sampler, queries: dict[str, Batch]) -> dict[str, Tensor]:
    """`<space>/gallery_prior` and `<space>/<modality>`: float32 means of raw gallery and query vectors."""
    constants = {}
    for modality, batch in queries.items():
        for space, vectors in objective.raw_vectors(batch).items():
            constants[f"{space}/{modality}"] = vectors.mean(dim=0)
    plain = torch.from_numpy(sampler.store.where(Split.TRAIN, "picture", "plain"))
    constants[f"{VISUAL}/{PRIOR}"] = torch.from_numpy(sampler.store.pooled)[plain].mean(dim=0)
    constants[f"{SEMANTIC}/{PRIOR}"] = constants[f"{SEMANTIC}/rgb"].clone()
    return {name: value.contiguous() for name, value in constants.items()}


def training_queries(sampler: Sampler) -> dict[str, Batch]:
    """Batches of one modality each, drawn evenly from training emoji."""
    store, texts = sampler.store, sampler.texts
    emoji = [n for n in store.where(Split.TRAIN) if store.rows[n].source not in ("photo", "clipart")]
    pictures = [n for n in emoji if (store.rows[n].domain, store.rows[n].recipe) == ("picture", "plain")]
    drawings = [n for n in emoji if store.rows[n].recipe.startswith("line")]
    written = [texts.of_subject[store.rows[n].subject][0] for n in pictures if texts.of_subject[store.rows[n].subject]]
    asked = {
        "rgb": [{"picture": int(n)} for n in pictures],
        "canny_edge": [{"drawing": int(n)} for n in drawings],
        "caption": [{"caption": text} for text in dict.fromkeys(written)],
        "color_palette": [{"palette": n} for n in store.encoded_palettes if store.rows[n].split is Split.TRAIN],
    }
    return {name: whole_batch(store, texts, _evenly(queries)) for name, queries in asked.items()}


def _evenly(queries: list[dict[str, int]]) -> list[dict[str, int]]:
    chosen = np.linspace(0, len(queries) - 1, min(_MEASURED, len(queries))).astype(int)
    return [queries[n] for n in chosen]


if __name__ == "__main__":
    main()
