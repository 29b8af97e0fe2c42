from typing import Any

import pytest

from anyseek.model.network.config import EmbeddingKind
from anyseek.model.network.transformer import FourM
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.training.pretraining.config import read_config
from anyseek.model.training.pretraining.plan import SPECIAL_TOKENS, make_plan, make_vocabulary, save_vocabulary
from anyseek.model.training.run.errors import TrainingConfigInvalid
from tests.model.training.runs import Written


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    path = tmp_path_factory.mktemp("vocabulary") / "vocabulary.json"
    save_vocabulary(make_vocabulary(["a red bar", "a blue bar, on white"], 20), path)
    return TextTokenizer.from_file(path)


def test_rows_come_from_the_config_the_vocabulary_and_the_tokenizer(
    config: dict[str, Any], written: Written, text: TextTokenizer
) -> None:
    config["modalities"]["shape_global"] = {"kind": "vector", "target": 1, "tokenizer": "shapes.safetensors"}
    config["modalities"]["features"] = {"kind": "map", "input": 1, "grid": [4, 4], "channels": 3}
    config["modalities"]["states"] = {"kind": "states", "input": 1, "width": 6, "max_length": 5}
    tokenizer = TokenizerConfig(n_channels=6, num_codebooks=4, codebook_size=8)
    plan = make_plan(read_config(written(config)), text, {"shape_global": tokenizer})
    network = plan.network
    assert network.domains_in == ("rgb", "caption", "color_palette", "tok_rgb", "features", "states")
    assert network.domains_out == ("caption", "color_palette", "tok_rgb", "shape_global")
    assert (network.row("rgb").grid, network.row("rgb").patch, network.row("rgb").channels) == ((4, 4), 8, 3)
    assert network.row("caption").vocabulary == text.vocabulary_size
    assert network.row("shape_global").tokens == 4
    assert network.row("shape_global").vocabulary == 8
    assert network.row("shape_global").learned_positions
    assert network.row("features").patch == 1
    assert network.row("states").kind is EmbeddingKind.SEQUENCE_EMBEDDING
    assert [modality.max_tokens for modality in plan.modalities] == [16, 16, 12, 16, 4, 16, 5]
    FourM(network)


@pytest.mark.parametrize(
    ("key", "changed", "says"),
    [
        ("rgb", {"grid": [4, 2]}, "grid must be square"),
        ("rgb", {"field": "semseg"}, "cannot take 'semseg' as a picture"),
        ("caption", {"max_length": 600}, "at most 512"),
        ("caption", {"max_tokens": 513}, "at most 512 tokens, not 513"),
        ("tok_rgb", {"vocabulary": 0}, "needs vocabulary of 1 or more"),
        ("tok_rgb", {"max_tokens": 17}, "at most 16 tokens, not 17"),
    ],
)
def test_rows_that_cannot_be_are_refused(
    config: dict[str, Any], written: Written, text: TextTokenizer, key: str, changed: dict[str, Any], says: str
) -> None:
    config["modalities"][key].update(changed)
    with pytest.raises(TrainingConfigInvalid, match=says):
        make_plan(read_config(written(config)), text, {})


def test_a_network_that_cannot_be_is_refused(config: dict[str, Any], written: Written, text: TextTokenizer) -> None:
    config["network"]["num_heads"] = 5
    with pytest.raises(TrainingConfigInvalid, match="network: dim 32 must be a multiple"):
        make_plan(read_config(written(config)), text, {})


def test_a_made_vocabulary_is_laid_out_as_the_published_one(text: TextTokenizer) -> None:
    assert (text.pad_id, text.unknown_id, text.start_id, text.end_id) == (0, 1, 2, 3)
    assert text.sentinel_ids == tuple(range(4, 204))
    assert text.encode("v0=12 v3=999") == [204 + 12, 204 + 3999]
    assert text.decode(text.encode("A red bar, on white")) == "a red bar, on white"
    assert text.encode("bared") != [text.unknown_id]  # spelled with characters
    assert text.encode("日") == [text.unknown_id]
    assert len(SPECIAL_TOKENS) == 4204


def test_the_same_texts_make_the_same_vocabulary() -> None:
    texts = ["b a", "a c", "c b d"]
    assert make_vocabulary(texts, 3).to_str() == make_vocabulary(reversed(texts), 3).to_str()
    vocabulary = make_vocabulary(texts, 2).get_vocab()
    assert {word for word in "abcd" if word in vocabulary} == set("abcd")  # as characters
