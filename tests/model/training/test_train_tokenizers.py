from pathlib import Path

import pytest
import torch

from model.data.samples import Split
from model.training.product_quantizer import product_quantizer
from model.training.train_tokenizers import ceiling, read_vectors, reconstruction_loss, train_tokenizer
from tests.model.training.pretraining.shapes import SAMPLES, shape_sample, write_data


def test_a_product_quantizer_finds_what_it_was_fitted_on() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(60, 256, generator=generator)
    vectors = centres[torch.randint(60, (1500,), generator=generator)] + 0.1 * torch.randn(
        1500, 256, generator=generator
    )
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    cosine, _ = ceiling(product_quantizer(vectors), vectors)
    trained, recall = ceiling(train_tokenizer(vectors, 30), vectors)
    assert cosine > 0.9
    assert trained > 0.9
    assert recall > 0.5


def test_a_perfect_reconstruction_costs_nothing_and_its_length_does_not_matter() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    assert reconstruction_loss(3 * vectors, vectors, vectors.mean(dim=0)).item() == pytest.approx(0, abs=1e-5)
    assert reconstruction_loss(-vectors, vectors, vectors.mean(dim=0)).item() > 1


def test_vectors_are_read_from_the_shards_of_several_data_sets(tmp_path: Path) -> None:
    write_data(tmp_path / "one")
    write_data(tmp_path / "other")
    vectors = read_vectors([tmp_path / "one", tmp_path / "other"], "rgb_pooled", Split.VAL)
    assert vectors.shape == (2 * SAMPLES[Split.VAL], 6)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)), atol=1e-3, rtol=0)
    first = torch.tensor(shape_sample(SAMPLES[Split.TRAIN]).values["rgb_pooled"][0])
    assert torch.nn.functional.cosine_similarity(vectors[0], first.float(), dim=0) > 0.999
