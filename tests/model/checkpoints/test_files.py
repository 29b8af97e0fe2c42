"""Writing and strictly reading checkpoints."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from anyseek.model.checkpoints.files import (
    check_fourm,
    load_fourm,
    load_tokenizer,
    load_vqvae,
    read_metadata,
    save_checkpoint,
)
from anyseek.model.errors import CheckpointMismatch, WeightsCorrupt, WeightsMissing
from anyseek.model.network.config import ConfigInvalid
from anyseek.model.network.tokens import ModalityInput
from anyseek.model.network.transformer import FourM
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.image_vqvae import ImageVQVAE
from anyseek.model.tokenizers.vqvae import VQVAE
from tests.golden.weights import fill_weights
from tests.sparse_checkpoint import write_sparse

Make = Callable[..., FourM]

KEYS = Path(__file__).parents[2] / "golden" / "keys"
# One of each class; `tests/golden` compares the names and shapes of all.
TOKENIZERS = {"edge_8k_224-512": "DiVAE", "sam-instance_1k_64": "ImageVQVAE", "human-poses_1k_8": "VQVAE"}


@pytest.fixture
def saved(make_fourm: Make, tmp_path: Path) -> Path:
    path = tmp_path / "fourm.safetensors"
    save_checkpoint(make_fourm(), path)
    return path


def _rewrite(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    metadata, tensors = read_metadata(path), {name: t.clone() for name, t in load_file(path).items()}
    change(tensors)
    save_file(tensors, path, metadata)


def test_a_network_comes_back_as_it_was(saved: Path, make_fourm: Make, small_inputs: dict[str, ModalityInput]) -> None:
    original, loaded = make_fourm(), load_fourm(saved)
    assert loaded.config == original.config
    for name, tensor in original.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    with torch.inference_mode():
        expected = original.decode_global(original.encode(small_inputs), ["tok_visual"])
        got = loaded.decode_global(loaded.encode(small_inputs), ["tok_visual"])
    assert torch.equal(got["tok_visual"], expected["tok_visual"])


def test_shared_tensors_are_written_once_and_shared_again(saved: Path) -> None:
    both = {f"{side}_embeddings.palette.mod_emb" for side in ("encoder", "decoder")}
    assert len(both & load_file(saved).keys()) == 1
    loaded = load_fourm(saved)
    assert loaded.decoder_embeddings["palette"].mod_emb is loaded.encoder_embeddings["palette"].mod_emb


def test_a_file_with_both_names_of_a_shared_tensor_holds_the_same_values(saved: Path) -> None:
    def add_twin(tensors: dict[str, torch.Tensor], more: float) -> None:
        tensors["encoder_embeddings.palette.mod_emb"] = tensors["decoder_embeddings.palette.mod_emb"] + more

    _rewrite(saved, lambda tensors: add_twin(tensors, 0))
    load_fourm(saved)
    _rewrite(saved, lambda tensors: add_twin(tensors, 1))
    with pytest.raises(CheckpointMismatch, match="different values"):
        load_fourm(saved)


def test_every_misfit_is_named(saved: Path) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["encoder.1.norm2.bias"]
        tensors["extra.weight"] = torch.zeros(2)
        tensors["mask_token"] = torch.zeros(1, 1, 8)

    _rewrite(saved, spoil)
    with pytest.raises(CheckpointMismatch) as caught:
        load_fourm(saved)
    message = str(caught.value)
    assert "missing encoder.1.norm2.bias;" in message
    assert "unexpected extra.weight;" in message
    assert "mask_token is (1, 1, 8) where the network has (1, 1, 16)" in message


def test_any_dtype_of_file_becomes_the_dtype_asked_for(make_fourm: Make, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_checkpoint(make_fourm(), path, torch.bfloat16)
    stored = load_file(path)
    assert stored["mask_token"].dtype == torch.bfloat16
    assert stored["encoder_embeddings.map.pos_emb"].dtype == torch.float32
    assert {tensor.dtype for tensor in load_fourm(path).state_dict().values()} == {torch.float32}
    wanted = load_fourm(path, torch.bfloat16)
    assert {tensor.dtype for tensor in wanted.state_dict().values()} == {torch.bfloat16}


def test_a_tokenizer_comes_back_with_its_values_kept(tmp_path: Path) -> None:
    mlp = "BottleneckMLP/B_1-Wi_8"
    original = VQVAE(TokenizerConfig(6, mlp, mlp, "memcodes", codebook_size=5, num_codebooks=2, latent_dim=4))
    original.initialise(seed=0)
    original.eval().quantize.cache_values()
    path = tmp_path / "tokenizer.safetensors"
    save_checkpoint(original, path)
    loaded = load_vqvae(path)
    assert loaded.config == original.config
    tokens = torch.tensor([[0, 4], [3, 1]])
    assert torch.equal(loaded.decode_tokens(tokens), original.decode_tokens(tokens))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_published_tokenizers_load_strictly(name: str, tmp_path: Path) -> None:
    document = json.loads(gzip.decompress((KEYS / f"{name}.json.gz").read_bytes()))
    shapes = {key: entry["shape"] for key, entry in document["keys"].items()}
    path = tmp_path / "model.safetensors"
    write_sparse(path, document["config"], shapes)
    loaded = load_tokenizer(path)
    assert type(loaded).__name__ == TOKENIZERS[name]
    assert not any(tensor.is_meta for tensor in loaded.state_dict().values())
    lost, shapes["extra"] = shapes.popitem()[0], [1]
    write_sparse(path, document["config"], shapes)
    with pytest.raises(CheckpointMismatch, match=f"missing {lost}; unexpected extra"):
        load_tokenizer(path)


def test_an_image_tokenizer_comes_back_as_it_was(tmp_path: Path) -> None:
    names = {"enc_type": "vit_w16b1h2_enc", "dec_type": "vit_w16b1h2_dec"}
    shape = {"n_channels": 3, **names, "codebook_size": 16, "latent_dim": 8}
    original = ImageVQVAE(TokenizerConfig.from_values({**shape, "image_size": 32, "norm_codes": False}))
    fill_weights(original)
    path = tmp_path / "tokenizer.safetensors"
    save_checkpoint(original, path)
    loaded = load_tokenizer(path)
    assert isinstance(loaded, ImageVQVAE)
    assert loaded.config == original.config
    for name, tensor in original.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    with pytest.raises(ConfigInvalid, match="tokenizer of images"):
        load_vqvae(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="nowhere"):
        load_fourm(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("keep", [0, 7, 400, -1])
def test_a_truncated_file_is_corrupt(saved: Path, keep: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(WeightsCorrupt, match=r"fourm\.safetensors"):
        load_fourm(saved)


def test_a_file_without_config_says_so(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ConfigInvalid, match="domains_in"):
        load_fourm(path)


def test_a_failed_write_leaves_nothing(make_fourm: Make, tmp_path: Path) -> None:
    folder = tmp_path / "taken"
    folder.mkdir()
    with pytest.raises(OSError, match="taken"):
        save_checkpoint(make_fourm(), folder)
    assert list(tmp_path.iterdir()) == [folder]


@pytest.fixture
def quantized_wide(make_fourm: Make, tmp_path: Path) -> Path:
    """A network wide enough that some of its tensors are stored as int8."""
    path = tmp_path / "int8.safetensors"
    save_checkpoint(make_fourm(dim=64, tie_token_embeddings=True), path, torch.int8)
    return path


def test_a_network_stored_as_int8_comes_back_nearly_as_it_was(make_fourm: Make, quantized_wide: Path) -> None:
    original, stored = make_fourm(dim=64), load_file(quantized_wide)
    assert {stored["encoder.0.attn.qkv.weight"].dtype, stored["mask_token"].dtype} == {torch.int8, torch.float16}
    loaded = load_fourm(quantized_wide)
    check_fourm(quantized_wide)
    tied = loaded.decoder_embeddings["tok_visual"]
    assert tied.to_logits.weight is tied.token_emb.weight
    assert loaded.decoder_embeddings["palette"].mod_emb is loaded.encoder_embeddings["palette"].mod_emb
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        largest = float(original.state_dict()[name].abs().max())
        if not name.endswith("to_logits.weight"):  # tied in one, not in the other
            torch.testing.assert_close(tensor, original.state_dict()[name], rtol=0, atol=largest / 250 + 1e-6)
    assert {tensor.dtype for tensor in load_fourm(quantized_wide, torch.bfloat16).state_dict().values()} == {
        torch.bfloat16
    }


def test_a_lost_scale_and_a_scale_too_many_are_named(quantized_wide: Path) -> None:
    def lose(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["encoder.0.attn.qkv.weight:scale"]

    def add(tensors: dict[str, torch.Tensor]) -> None:
        tensors["encoder.9.weight:scale"] = torch.ones(1)

    _rewrite(quantized_wide, lose)
    with pytest.raises(WeightsCorrupt, match=r"encoder\.0\.attn\.qkv\.weight is int8 and has no scale"):
        load_fourm(quantized_wide)
    _rewrite(quantized_wide, add)
    with pytest.raises(CheckpointMismatch, match=r"unexpected encoder\.9\.weight:scale"):
        load_fourm(quantized_wide)


def test_position_tables_are_computed_and_learned_ones_stored(make_fourm: Make, quantized_wide: Path) -> None:
    original, stored = make_fourm(dim=64, tie_token_embeddings=True), load_file(quantized_wide)
    assert {name for name in stored if name.endswith("pos_emb")} == {
        f"{side}_embeddings.{key}.pos_emb"
        for side, key in (("encoder", "tok_visual"), ("decoder", "tok_visual"), ("decoder", "tok_semantic"))
    }
    loaded = load_fourm(quantized_wide).state_dict()
    for name in ("encoder_embeddings.map.pos_emb", "decoder_embeddings.palette.pos_emb"):
        assert torch.equal(loaded[name], original.state_dict()[name])

    def add(tensors: dict[str, torch.Tensor]) -> None:
        tensors["encoder_embeddings.map.pos_emb"] = torch.full((1, 9, 64), 0.5)

    _rewrite(quantized_wide, add)
    assert load_fourm(quantized_wide).encoder_embeddings["map"].pos_emb.unique().tolist() == [
        0.5
    ]  # older files have them
