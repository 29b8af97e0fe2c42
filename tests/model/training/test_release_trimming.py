import json
from pathlib import Path

import pytest
import torch

from anyseek.model.checkpoints.files import check_fourm, load_fourm, save_checkpoint
from anyseek.model.network.config import EmbeddingKind, FourMConfig, ModalityConfig
from anyseek.model.network.transformer import FourM
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.training.pretraining.plan import make_vocabulary
from anyseek.model.training.release import may_hold, rows_of_use, trimmed, without_targets

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
    rows = rows_of_use(_network(tuple(TEXTS), whole.get_vocab_size()), whole.to_str())
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
    rows = rows_of_use(network, whole.to_str())
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
