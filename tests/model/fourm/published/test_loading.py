"""Loading an installed set: everything random, read by the code that reads the published files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from anyseek.model.errors import UnknownModel, WeightsCorrupt, WeightsMissing
from anyseek.model.fourm.inputs import FourMParts
from anyseek.model.fourm.model import FourMModel
from anyseek.model.fourm.published import names
from anyseek.model.fourm.published.loading import fingerprint_with, load_published
from anyseek.model.fourm.published.store import MODEL_FILE, RECORD_FILE, folder_of, installed
from anyseek.model.modalities.coco import THINGS
from anyseek.model.network.packing import PackedLinear, can_pack
from anyseek.model.predict import predict
from anyseek.model.tokenizers.divae import DiVAE
from anyseek.model.tokenizers.image_vqvae import ImageVQVAE
from anyseek.model.tokenizers.vqvae import VQVAE
from tests.random_weights import write_random_models

TABLE = "encoder.0.mlp.fc1.weight"
CLASSES = {
    **dict.fromkeys((names.RGB, names.DEPTH, names.NORMAL, names.EDGE), DiVAE),
    **dict.fromkeys((names.SEMSEG, names.CLIP, names.DINOV2, names.IMAGEBIND, names.SAM_INSTANCE), ImageVQVAE),
    **dict.fromkeys((names.DINOV2_GLOBAL, names.IMAGEBIND_GLOBAL, names.HUMAN_POSES), VQVAE),
}


@pytest.fixture(scope="module")
def loaded(published_home: Path) -> FourMModel:
    return load_published("EPFL-VILAB/4M-21_B", published_home)


def test_a_network_brings_its_vocabulary_and_tokenizers(loaded: FourMModel) -> None:
    assert loaded.name == "EPFL-VILAB/4M-21_B"
    assert len(loaded.parts.network.config.domains_in) == 19
    text = loaded.parts.tokenizers.text
    assert text is loaded.parts.tokenizers.text
    assert text.encode("v0=10 v1=20 v2=300 v3=400 bus [S_1]") == [214, 1224, 2504, 3604, 4220, 5]


@pytest.mark.parametrize("name", list(CLASSES))
def test_tokenizers_have_the_published_class_and_codes(loaded: FourMModel, name: str) -> None:
    tokenizer = loaded.parts.tokenizers.tokenizer(f"EPFL-VILAB/{name}")
    assert type(tokenizer) is CLASSES[name]
    assert tokenizer is loaded.parts.tokenizers.tokenizer(name)
    assert not tokenizer.training


def test_super_resolution_is_loaded_once(loaded: FourMModel) -> None:
    assert loaded.parts.load_upscaler is not None
    larger = loaded.parts.load_upscaler()
    assert larger is loaded.parts.load_upscaler()
    assert "tok_rgb@448" in larger.network.config.domains_out


def test_the_network_has_the_dtype_asked_for_and_tokenizers_float32(published_home: Path) -> None:
    half = load_published("4M-21_B:dtype=bfloat16", published_home)
    assert half.parts.network.mask_token.dtype == torch.bfloat16
    assert half.parts.load_upscaler is not None
    assert half.parts.load_upscaler().network.mask_token.dtype == torch.bfloat16
    assert next(half.parts.tokenizers.tokenizer(names.CLIP).parameters()).dtype == torch.float32


@pytest.mark.skipif(not can_pack(torch.float32), reason="this torch has no oneDNN")
def test_logits_of_a_target_are_packed_when_it_is_first_predicted(published_home: Path) -> None:
    model = load_published("4M-21_B:dtype=bfloat16", published_home)
    larger = model.parts.load_upscaler() if model.parts.load_upscaler is not None else None
    assert larger is not None
    layers = [parts.network.get_submodule("decoder.0.mlp.fc1") for parts in (model.parts, larger)]
    assert [isinstance(layer, PackedLinear) for layer in layers] == [can_pack(torch.bfloat16)] * 2
    head = model.parts.network.get_submodule("decoder_embeddings.color_palette")
    assert head.to_logits.weight.dtype == torch.bfloat16
    predict({"caption": "a red bus"}, ["color_palette"], model=model)
    assert head.to_logits.weight.dtype == torch.float32
    assert isinstance(head.to_logits, PackedLinear) == can_pack(torch.bfloat16)


def test_logits_of_a_space_are_float32_though_its_tokenizer_is_pulled_later(tmp_path: Path) -> None:
    """Else they would round as the network does, and a vector depend on what was pulled first."""
    write_random_models(tmp_path, dim=8)
    record = folder_of(names.DINOV2_GLOBAL, tmp_path) / RECORD_FILE
    pulled = record.read_bytes()
    record.unlink()
    model = load_published("4M-21_B:dtype=bfloat16", tmp_path)
    record.write_bytes(pulled)
    assert "dinov2_global" in model.spaces
    head = model.parts.network.get_submodule("decoder_embeddings.tok_dinov2_global")
    assert head.to_logits.weight.dtype == torch.float32


def test_the_fingerprint_covers_the_tokenizers_it_is_asked_for(published_home: Path) -> None:
    def made(*tokenizers: str) -> str:
        return fingerprint_with("4M-21_B", tokenizers, published_home)

    both = made(names.CLIP, names.DEPTH)
    assert both == made(names.DEPTH, names.CLIP)
    assert len({installed("4M-21_B", published_home).fingerprint, made(names.CLIP), both}) == 3


def test_names_of_another_kind_are_refused(published_home: Path, loaded: FourMModel) -> None:
    with pytest.raises(UnknownModel, match="is a tokenizer"):
        load_published(names.CLIP, published_home)
    with pytest.raises(UnknownModel, match="is a network"):
        loaded.parts.tokenizers.tokenizer("4M-21_B")
    with pytest.raises(UnknownModel, match="4M-21_XXL"):
        load_published("4M-21_XXL", published_home)


def test_what_is_missing_beside_a_network_names_the_command(tmp_path: Path) -> None:
    write_random_models(tmp_path, dim=8)
    for name in (names.CLIP, names.SUPER_RESOLUTION, names.VOCABULARY):
        (folder_of(name, tmp_path) / RECORD_FILE).unlink()
    alone = load_published("4M-21_B", tmp_path)
    with pytest.raises(WeightsMissing, match=f"anyseek models pull {names.CLIP}"):
        alone.parts.tokenizers.tokenizer(names.CLIP)
    with pytest.raises(WeightsMissing, match=f"anyseek models pull {names.SUPER_RESOLUTION}"):
        alone.parts.load_upscaler and alone.parts.load_upscaler()
    with pytest.raises(WeightsMissing, match=f"anyseek models pull {names.VOCABULARY}"):
        _ = alone.parts.tokenizers.text


def test_files_changed_after_installing_are_refused(tmp_path: Path) -> None:
    write_random_models(tmp_path, dim=8)
    with (folder_of("4M-21_B", tmp_path) / MODEL_FILE).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(WeightsCorrupt, match="has changed since it was installed"):
        load_published("4M-21_B", tmp_path)
    record = folder_of(names.CLIP, tmp_path) / RECORD_FILE
    record.write_text(json.dumps(json.loads(record.read_text()) | {"fingerprint": "0" * 64}))
    with pytest.raises(WeightsCorrupt, match="fingerprint"):
        load_published(names.SUPER_RESOLUTION, tmp_path).parts.tokenizers.tokenizer(names.CLIP)


def test_loading_does_not_import_the_compiler(published_home: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from anyseek.model.fourm.published.loading import load_published; "
        "model = load_published('4M-21_B', Path(sys.argv[1])); "
        "[model.parts.tokenizers.tokenizer(name) for name in sys.argv[2:]]; print('sympy' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(published_home), *names.published("4M-21_B").needs]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"  # torch imports it for seconds where shapes alone are asked the wrong way


def test_the_text_vocabulary_has_the_things_of_coco_as_single_tokens(parts: FourMParts) -> None:
    assert all(len(parts.tokenizers.text.encode(name)) == 1 for name in THINGS)
