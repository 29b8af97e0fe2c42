"""CONTRIBUTING says what adding a modality takes; here thermal infrared pictures are added with exactly that.

A row in `anyseek.model.modalities.registry`, its tokenizer's name in `anyseek.model.fourm.published.names`, a row in
`anyseek.model.fourm.published.modalities`; the network's own metadata says how it holds the modality's tokens.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from anyseek.model.fourm import images
from anyseek.model.fourm.codecs import ImageTokenCodec
from anyseek.model.fourm.model import FourMModel
from anyseek.model.fourm.published import names
from anyseek.model.fourm.published.loading import load_published
from anyseek.model.fourm.published.modalities import FORMS, InputForm
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.registry import MODALITIES, PICTURE_SUFFIXES, Content, Modality
from anyseek.model.network.config import EmbeddingKind, FourMConfig, ModalityConfig
from anyseek.model.network.tokens import ModalityInput
from anyseek.model.network.transformer import FourM
from anyseek.model.predict import predict
from anyseek.model.registry.loading import load_embedder
from anyseek.model.seam import FloatArray, PredictOptions, Sample
from anyseek.model.tokenizers.build import build_tokenizer
from anyseek.model.tokenizers.config import TokenizerConfig
from tests.model.fourm.published.values import PICTURE
from tests.random_weights import install_random

NETWORK, TOKENIZER, KEY = "4M-thermal", "tokenizer_thermal", "tok_thermal@224"

OWN_ROW = ModalityConfig(KEY, EmbeddingKind.IMAGE_TOKENS, (14, 14), patch=16, vocabulary=512)
CONFIG = FourMConfig(
    domains_in=("rgb@224", "caption", KEY, "tok_dinov2_global"),
    domains_out=("caption", KEY, "tok_dinov2_global"),
    dim=32,
    encoder_depth=1,
    decoder_depth=1,
    num_heads=2,
    modalities={KEY: OWN_ROW},
)
SHAPE = {"n_channels": 1, "codebook_size": 512, "latent_dim": 8, "enc_type": "vit_w32b1h2_enc"}


def heat_image(picture: ByteArray, size: int) -> FloatArray:
    """What the camera shows as grey: float32 (1, size, size) in [-1, 1]."""
    return images.rgb_tokenizer_input(picture, size).mean(axis=0, keepdims=True)


def picture_of_heat(image: Tensor) -> ByteArray:
    """A grey picture uint8 (H, W, 3)."""
    return images.picture_of(image.expand(3, -1, -1))


@pytest.fixture
def thermal(published_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FourMModel:
    """A network for thermal pictures, installed beside the published tokenizers."""
    row = Modality("thermal", Content.PICTURE, "a picture of a thermal infrared camera", (), PICTURE_SUFFIXES)
    monkeypatch.setitem(MODALITIES, "thermal", row)
    for name, role in ((NETWORK, names.Role.NETWORK), (TOKENIZER, names.Role.TOKENIZER)):
        monkeypatch.setitem(names.PUBLISHED, name, names.Published(name, f"own/{name}", role))
    codec = ImageTokenCodec(TOKENIZER, heat_image, picture_of_heat)
    monkeypatch.setitem(FORMS, "thermal", (InputForm(KEY, codec),))

    (tmp_path / "models").mkdir()
    for folder in (published_home / "models").iterdir():
        (tmp_path / "models" / folder.name).symlink_to(folder)
    random = torch.Generator().manual_seed(0)
    install_random(FourM(CONFIG), NETWORK, tmp_path, random)
    config = TokenizerConfig.from_values(SHAPE | {"dec_type": "vit_w32b1h2_dec"})
    install_random(build_tokenizer(config), TOKENIZER, tmp_path, random)
    return load_published(NETWORK, tmp_path)


def test_it_is_predicted_from_others(thermal: FourMModel) -> None:
    assert "thermal" in thermal.targets
    found = predict({"rgb": PICTURE}, ["thermal"], model=thermal, options=PredictOptions(temperature=0))["thermal"]
    assert np.asarray(found.value).shape == (224, 224, 3)
    assert found.tokens is not None
    assert found.tokens.shape == (14, 14)
    assert 1 < len(np.unique(found.tokens)) <= 196


def test_others_are_predicted_from_it(thermal: FourMModel) -> None:
    options, targets = PredictOptions(temperature=0), ["dinov2_global", "caption"]
    found = predict({"thermal": PICTURE}, targets, model=thermal, options=options)
    with torch.no_grad():
        image = torch.from_numpy(heat_image(PICTURE, 224))[None]
        ids = thermal.parts.tokenizers.tokenizer(TOKENIZER).encode(image).flatten(1)
        inputs = {KEY: ModalityInput(ids, torch.zeros(1, 196, dtype=torch.bool))}
        logits = thermal.parts.network.decode_global(thermal.parts.network.encode(inputs), ["tok_dinov2_global"])
    np.testing.assert_array_equal(found["dinov2_global"].tokens, logits["tok_dinov2_global"][0].argmax(dim=1))
    assert len(ids.unique()) > 1
    assert isinstance(found["caption"].value, str)


def test_it_is_embedded(thermal: FourMModel, tmp_path: Path) -> None:
    embedder = load_embedder(thermal.name, tmp_path)
    assert embedder.modalities == {"rgb", "caption", "thermal", "dinov2_global"}
    samples = [Sample({"thermal": PICTURE}), Sample({"caption": "a warm engine"})]
    vectors = embedder.embed(samples, ["dinov2_global"])["dinov2_global"]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert float(vectors[0] @ vectors[1]) < 0.9999
