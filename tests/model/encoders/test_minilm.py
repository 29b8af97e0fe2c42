import math

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from anyseek.model.encoders.minilm import MAX_TEXT_LENGTH, WIDTH, MiniLM, convert


@pytest.fixture(scope="module")
def encoder() -> MiniLM:
    """The network with random weights and a vocabulary of a few words."""
    words = {word: n for n, word in enumerate(["[PAD]", "[UNK]", "a", "red", "apple", "tree"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    torch.manual_seed(0)
    return MiniLM(tokenizer).eval()


@torch.inference_mode()
def test_padding_changes_nothing_and_sentences_have_length_one(encoder: MiniLM) -> None:
    together = encoder(["apple", "a red apple tree"])
    alone = encoder(["apple"])
    assert together.states.shape == (2, 4, WIDTH)
    assert together.unused.tolist() == [[False, True, True, True], [False] * 4]
    torch.testing.assert_close(together.pooled[:1], alone.pooled, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together.pooled.norm(dim=1), torch.ones(2))


@torch.inference_mode()
def test_attention_is_that_of_the_paper(encoder: MiniLM) -> None:
    """One head of the first block, worked out by hand."""
    attention = encoder.blocks[0].attention
    x = torch.randn(1, 3, WIDTH, generator=torch.Generator().manual_seed(1))
    heads = []
    for head in range(12):
        part = slice(32 * head, 32 * head + 32)
        q, k, v = (layer(x)[0, :, part] for layer in (attention.query, attention.key, attention.value))
        heads.append((q @ k.T / math.sqrt(32)).softmax(dim=1) @ v)
    expected = attention.norm(x + attention.dense(torch.cat(heads, dim=1)))
    torch.testing.assert_close(attention(x, torch.ones(1, 1, 1, 3).bool()), expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_long_texts_are_cut(encoder: MiniLM) -> None:
    assert encoder(["apple " * 200]).states.shape[1] == MAX_TEXT_LENGTH


def test_a_published_file_fits_the_network(encoder: MiniLM) -> None:
    published = {
        "embeddings.word_embeddings.weight": torch.randn(30522, WIDTH),
        "embeddings.position_embeddings.weight": torch.randn(512, WIDTH),
        "embeddings.token_type_embeddings.weight": torch.randn(2, WIDTH),
        "embeddings.LayerNorm.weight": torch.ones(WIDTH),
        "embeddings.LayerNorm.bias": torch.zeros(WIDTH),
    }
    layers = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
    for index in range(6):
        stem = f"encoder.layer.{index}"
        shapes = dict.fromkeys(layers, (WIDTH, WIDTH))
        shapes |= {"intermediate.dense": (1536, WIDTH), "output.dense": (WIDTH, 1536)}
        for layer, shape in shapes.items():
            published[f"{stem}.{layer}.weight"] = torch.randn(shape)
            published[f"{stem}.{layer}.bias"] = torch.zeros(shape[0])
        for layer in ("attention.output.LayerNorm", "output.LayerNorm"):
            published[f"{stem}.{layer}.weight"] = torch.ones(WIDTH)
            published[f"{stem}.{layer}.bias"] = torch.zeros(WIDTH)
    converted = convert(published)
    assert {name: t.shape for name, t in converted.items()} == {n: t.shape for n, t in encoder.state_dict().items()}
    assert {t.dtype for t in converted.values()} == {torch.bfloat16}
    del published["encoder.layer.3.output.dense.bias"]
    with pytest.raises(KeyError, match=r"layer\.3\.output\.dense\.bias"):
        convert(published)
