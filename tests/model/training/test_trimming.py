import json
from pathlib import Path

import pytest
import torch

from model.config import EmbeddingKind, FourMConfig, ModalityConfig
from model.tokenizers.text import TextTokenizer
from model.training.pretraining.vocabulary import make_vocabulary
from model.training.trimming import trimmed, unused_pieces
from model.transformer import FourM

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
    smaller, vocabulary = trimmed(network, whole.to_str())
    (tmp_path / "vocabulary.json").write_text(vocabulary)
    text = TextTokenizer.from_file(tmp_path / "vocabulary.json")
    assert text.vocabulary_size == whole.get_vocab_size() - 2000
    assert sorted(json.loads(vocabulary)["model"]["vocab"].values()) == list(range(text.vocabulary_size))
    for key, written in TEXTS.items():
        before, after = whole.encode(written, add_special_tokens=False).ids, text.encode(written)
        assert text.decode(after) == whole.decode(before, skip_special_tokens=False)
        for name in (f"encoder_embeddings.{key}.token_emb.weight", f"decoder_embeddings.{key}.to_logits.weight"):
            torch.testing.assert_close(smaller.state_dict()[name][after], network.state_dict()[name][before])
    assert smaller.config.row("caption").vocabulary == text.vocabulary_size


@pytest.mark.parametrize(("keys", "left_out"), [(("det",), 0), (("caption",), 4), (("caption", "human_poses"), 0)])
def test_only_bins_that_no_text_holds_are_left_out(keys: tuple[str, ...], left_out: int) -> None:
    assert len(unused_pieces(keys, {"v0=1", "v1=1", "v2=1", "v3=1", "v", "house"})) == left_out
