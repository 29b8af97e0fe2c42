"""The text tokenizer, on a small vocabulary and, if it is available, on the published one."""

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from anyseek.model.errors import WeightsCorrupt, WeightsMissing
from anyseek.model.tokenizers.text import TextTokenizer

PUBLISHED = Path(__file__).parents[4] / "shared/data/text_tokenizer_4m_wordpiece_30k.json"
SPECIAL = ["[PAD]", "[UNK]", "[SOS]", "[EOS]", "[S_0]", "[S_1]", "[S_2]"]


def _write_vocabulary(path: Path, special: list[str]) -> Path:
    words = [*special, "a", "red", "bus", "##es"]
    made = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.add_special_tokens([AddedToken(token, single_word=True, normalized=False) for token in special])
    made.save(str(path))
    return path


def test_texts_round_trip(tmp_path: Path) -> None:
    tokenizer = TextTokenizer.from_file(_write_vocabulary(tmp_path / "words.json", SPECIAL))
    ids = tokenizer.encode("A Red buses [S_1]")
    assert ids == [7, 8, 9, 10, 5]
    assert tokenizer.decode(ids) == "a red buses [S_1]"
    assert tokenizer.encode("zebra") == [tokenizer.unknown_id]
    assert tokenizer.encode("") == []


def test_special_ids(tmp_path: Path) -> None:
    tokenizer = TextTokenizer.from_file(_write_vocabulary(tmp_path / "words.json", SPECIAL))
    assert (tokenizer.pad_id, tokenizer.unknown_id, tokenizer.start_id, tokenizer.end_id) == (0, 1, 2, 3)
    assert tokenizer.sentinel_ids == (4, 5, 6)
    assert tokenizer.vocabulary_size == 11
    assert tokenizer.id_of("bus") == 9
    assert tokenizer.id_of("train") is None


@pytest.mark.parametrize(
    ("special", "complaint"),
    [
        ([token for token in SPECIAL if token != "[EOS]"], r"lacks \[EOS\]"),
        ([token for token in SPECIAL if token != "[S_1]"], "consecutive sentinels"),
    ],
)
def test_a_vocabulary_that_lacks_tokens_is_rejected(tmp_path: Path, special: list[str], complaint: str) -> None:
    with pytest.raises(WeightsCorrupt, match=complaint):
        TextTokenizer.from_file(_write_vocabulary(tmp_path / "words.json", special))


def test_a_malformed_vocabulary_is_rejected(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"hello": 1}))
    with pytest.raises(WeightsCorrupt, match=r"other\.json"):
        TextTokenizer.from_file(other)
    other.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WeightsCorrupt, match="UTF-8"):
        TextTokenizer.from_file(other)
    with pytest.raises(WeightsMissing, match="gone"):
        TextTokenizer.from_file(tmp_path / "gone.json")


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the published vocabulary is not beside the project")
@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a red bus parked next to a tall building", [4321, 5135, 4220, 6034, 5472, 4953, 4321, 6737, 5198]),
        ("v0=10 v1=20 v2=300 v3=400 bus", [214, 1224, 2504, 3604, 4220]),
        ("v1=1 v0=1 v0=2 v0=3", [1205, 205, 206, 207]),
        ("point v0=3 v1=200 none", [6712, 207, 1404, 18109]),
        ("Hot Dog", [4242]),
    ],
)
def test_the_published_vocabulary(text: str, ids: list[int]) -> None:
    tokenizer = TextTokenizer.from_file(PUBLISHED)
    assert tokenizer.encode(text) == ids
    assert tokenizer.vocabulary_size == 30_000
    assert tokenizer.sentinel_ids == tuple(range(4, 204))
