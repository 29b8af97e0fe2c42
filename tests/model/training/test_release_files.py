"""Tokenizers of images in a bundle: which are refused, and what labels are called."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anyseek.model.checkpoints.files import check_fourm, load_fourm, load_image_decoder, save_checkpoint
from anyseek.model.data.samples import DataSample, Split
from anyseek.model.network.config import EmbeddingKind, FourMConfig, ModalityConfig
from anyseek.model.network.transformer import FourM
from anyseek.model.seam import Regions
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.image_vqvae import ImageVQVAE
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.tokenizers.vqvae import VQVAE
from anyseek.model.training.pretraining.config import TrainingConfig, read_config
from anyseek.model.training.pretraining.plan import make_vocabulary
from anyseek.model.training.release import (
    dense_targets,
    may_hold,
    trim_vocabulary,
    used_rows,
    without_targets,
    write_decoders,
)
from anyseek.model.training.run.errors import TrainingConfigInvalid
from tests.model.training.runs import Written
from tests.model.training.shapes import write_shards
from tests.random_bundle import random_image_tokenizer

_MLP = "BottleneckMLP/B_1-Wi_8"
VECTORS = TokenizerConfig(6, _MLP, _MLP, "memcodes", 8, num_codebooks=2, latent_dim=4)
TEXTS = {"caption": "a red house", "color_palette": "v1=2 v0=255 v0=0 v0=7 v0=1 v0=2 v0=3", "metadata": "v1=5 v0=999"}


def _network(keys: tuple[str, ...], ids: int) -> FourM:
    rows = {key: ModalityConfig(key, EmbeddingKind.SEQUENCE, vocabulary=ids, max_length=16) for key in keys}
    network = FourM(
        FourMConfig(
            keys,
            keys,
            dim=16,
            encoder_depth=1,
            decoder_depth=1,
            num_heads=2,
            modalities=rows,
            tie_token_embeddings=True,
        )
    )
    network.initialise(0)
    return network.eval()


def test_texts_have_the_same_embeddings_and_fewer_ids(tmp_path: Path) -> None:
    whole = make_vocabulary(TEXTS.values(), words=50)
    network = _network(tuple(TEXTS), whole.get_vocab_size())
    smaller, vocabulary = trim_vocabulary(network, whole.to_str())
    (tmp_path / "vocabulary.json").write_text(vocabulary)
    text = TextTokenizer.from_file(tmp_path / "vocabulary.json")
    assert text.vocabulary_size == whole.get_vocab_size() - 2979  # axes 2 and 3, and v1= from 21 on
    assert sorted(json.loads(vocabulary)["model"]["vocab"].values()) == list(range(text.vocabulary_size))
    for key, written in TEXTS.items():
        before, after = whole.encode(written, add_special_tokens=False).ids, text.encode(written)
        assert text.decode(after) == whole.decode(before, skip_special_tokens=False)
        for name in (f"encoder_embeddings.{key}.token_emb.weight", f"decoder_embeddings.{key}.to_logits.weight"):
            torch.testing.assert_close(smaller.state_dict()[name][after], network.state_dict()[name][before])
    assert smaller.config.row("caption").vocabulary == text.vocabulary_size


def test_rows_of_use_are_those_of_all_that_a_text_can_hold(tmp_path: Path) -> None:
    whole = make_vocabulary(TEXTS.values(), words=50)
    pieces = whole.get_vocab()
    rows = used_rows(_network(tuple(TEXTS), whole.get_vocab_size()), whole.to_str())
    assert len(rows) == 9
    specials = {number for piece, number in pieces.items() if piece.startswith("[")}
    for key, written in TEXTS.items():
        of_encoder, of_logits = (
            set(rows[f"{side}_embeddings.{key}.{table}.weight"].tolist())
            for side, table in (("encoder", "token_emb"), ("decoder", "to_logits"))
        )
        assert of_encoder == of_logits
        assert of_encoder >= {*whole.encode(written, add_special_tokens=False).ids, *specials}
    palette = set(rows["encoder_embeddings.color_palette.token_emb.weight"].tolist())
    assert palette - specials == {pieces[f"v0={n}"] for n in range(256)} | {pieces[f"v1={n}"] for n in range(1, 8)}
    metadata = set(rows["encoder_embeddings.metadata.token_emb.weight"].tolist())
    assert metadata - specials == {pieces[f"v0={n}"] for n in range(1000)} | {pieces[f"v1={n}"] for n in range(21)}
    assert pieces["house"] in rows["decoder_embeddings.caption.to_logits.weight"]
    assert pieces["v0=1"] not in rows["decoder_embeddings.caption.to_logits.weight"]


def test_a_network_stored_with_rows_of_use_knows_them_as_before(tmp_path: Path) -> None:
    whole = make_vocabulary(TEXTS.values(), words=50)
    network = _network(tuple(TEXTS), whole.get_vocab_size())
    rows = used_rows(network, whole.to_str())
    for dtype in (None, torch.int8):
        save_checkpoint(network, tmp_path / "plain.safetensors", dtype)
        save_checkpoint(network, tmp_path / "shared.safetensors", dtype, rows)
        plain, shared = load_fourm(tmp_path / "plain.safetensors"), load_fourm(tmp_path / "shared.safetensors")
        check_fourm(tmp_path / "shared.safetensors")
        assert (tmp_path / "shared.safetensors").stat().st_size < (tmp_path / "plain.safetensors").stat().st_size / 2
        before, after = plain.state_dict(), shared.state_dict()
        assert before.keys() == after.keys()
        for name, tensor in before.items():
            used = rows.get(name, torch.arange(len(tensor)))
            assert torch.equal(tensor[used], after[name][used]), name


@pytest.mark.parametrize(("keys", "left_out"), [(("det",), 0), (("caption",), 4), (("caption", "human_poses"), 0)])
def test_only_bins_that_no_text_holds_are_left_out(keys: tuple[str, ...], left_out: int) -> None:
    pieces = {"v0=1", "v1=1", "v2=1", "v3=1", "v", "house"}
    assert sum(not any(may_hold(key, piece) for key in keys) for piece in pieces) == left_out


def test_what_is_not_to_be_predicted_leaves_nothing_behind() -> None:
    network = _network(tuple(TEXTS), 40)
    smaller = without_targets(network, {"metadata"})
    assert smaller.config.domains_out == ("caption", "color_palette")
    assert smaller.config.domains_in == tuple(TEXTS)
    gone = network.state_dict().keys() - smaller.state_dict().keys()
    assert gone
    assert all(name.startswith("decoder_embeddings.metadata.") for name in gone)
    for name, tensor in smaller.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])


def _write_rooms(folder: Path) -> None:
    """Two training samples with regions, of which each has names that the other lacks, and one without."""
    regions = [
        Regions(np.array([[0, 1], [1, 2]]), {1: "wall", 2: "chair"}),
        Regions(np.array([[1, 4]]), {1: "wall", 4: "lamp"}),
    ]
    samples = [DataSample(str(place), {"semseg": each}) for place, each in enumerate(regions)]
    write_shards(folder, {Split.TRAIN: [*samples, DataSample("2", {"canny_edge": np.zeros((2, 2), np.uint8)})]})


@pytest.fixture
def reading(config: dict[str, Any], written: Written, tmp_path: Path) -> Callable[[str, Path], TrainingConfig]:
    """A config whose network predicts a modality by the tokenizer in a file."""
    _write_rooms(tmp_path / "rooms")

    def read(name: str, path: Path) -> TrainingConfig:
        config["data"] = {"folders": [{"folder": str(tmp_path / "rooms")}]}
        row = {"kind": "tokens", "target": 1, "grid": [4, 4], "vocabulary": 32, "tokenizer": str(path)}
        config["modalities"] = {"rgb": config["modalities"]["rgb"], f"tok_{name}": row}
        return read_config(written(config))

    return read


def _predicting(name: str) -> FourMConfig:
    row = ModalityConfig(f"tok_{name}", EmbeddingKind.IMAGE_TOKENS, (4, 4), vocabulary=32)
    return FourMConfig((), (row.key,), dim=16, num_heads=2, modalities={row.key: row})


@torch.inference_mode()
def test_decoders_are_written_and_labels_called_as_in_the_data(
    reading: Callable[[str, Path], TrainingConfig], tmp_path: Path
) -> None:
    path, to = tmp_path / "semseg-tokenizer.safetensors", tmp_path / "to"
    to.mkdir()
    (to / "depth.safetensors").write_text("of a release before")
    whole = random_image_tokenizer("semseg")
    save_checkpoint(whole, path)
    config = reading("semseg", path)
    assert dense_targets(config) == {"semseg": path}
    assert write_decoders(config, _predicting("semseg"), to) == {"semseg": {1: "wall", 2: "chair", 4: "lamp"}}
    assert [path.name for path in to.iterdir()] == ["semseg.safetensors"]
    tokens = torch.arange(32).view(2, 4, 4)
    found = load_image_decoder(to / "semseg.safetensors").decode_tokens(tokens)
    torch.testing.assert_close(found, whole.decode_tokens(tokens), rtol=0.1, atol=0.05)


def test_as_many_labels_as_coco_has_are_coco_s(reading: Callable[[str, Path], TrainingConfig], tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.safetensors"
    shape = replace(random_image_tokenizer("semseg").config, n_labels=134)
    save_checkpoint(type(random_image_tokenizer("semseg"))(shape), path)
    classes = write_decoders(reading("semseg", path), _predicting("semseg"), tmp_path)
    assert classes["semseg"][1] == "person"
    assert len(classes["semseg"]) == 133


@pytest.mark.parametrize(
    ("tokenizer", "says"),
    [
        (random_image_tokenizer("normal"), "is not a tokenizer of depth: a tokenizer of 3 channels does not"),
        (random_image_tokenizer("depth", codes=16), "makes 4 x 4 tokens of 16 codes; the network's tok_depth has 4 x"),
        (VQVAE(VECTORS), "is a VQVAE; a bundle can only have decoders of ImageVQVAE"),
    ],
)
def test_a_tokenizer_of_something_else_is_refused(
    reading: Callable[[str, Path], TrainingConfig], tmp_path: Path, tokenizer: ImageVQVAE | VQVAE, says: str
) -> None:
    path = tmp_path / "tokenizer.safetensors"
    save_checkpoint(tokenizer, path)
    with pytest.raises(TrainingConfigInvalid, match=says):
        write_decoders(reading("depth", path), _predicting("depth"), tmp_path)
