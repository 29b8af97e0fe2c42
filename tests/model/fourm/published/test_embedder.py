"""Published networks as embedders: spaces, decoding, options, fingerprints. What all embedders do: tests/contracts."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anyseek.model.errors import UnknownModel, WeightsMissing
from anyseek.model.fourm.published import names
from anyseek.model.fourm.published.names import EmbedderOptions, Precision, is_published, parse_name
from anyseek.model.fourm.published.store import InstalledFile, folder_of, installed, vocabulary_file, write_record
from anyseek.model.network.transformer import FourM
from anyseek.model.registry.loading import known_models
from anyseek.model.registry.loading import load_embedder as load
from anyseek.model.seam import Decoding, Embedder, Sample
from tests.model.fourm.published.values import VALUES

SPACES = {"dinov2_global": 768, "imagebind_global": 1280, "clip": 512}
SAMPLES = [
    Sample({"rgb": VALUES["rgb"]}),
    Sample({"caption": "a red bus"}),
    Sample({"depth": VALUES["depth"], "caption": "a longer caption of a red bus"}),
]


@pytest.fixture(scope="module")
def embedder(published_home: Path) -> Embedder:
    return load("4M-21_B", published_home)


@pytest.fixture
def part_of_home(published_home: Path, tmp_path: Path) -> Callable[..., Path]:
    """A data directory with some of what is installed."""

    def make(*parts: str) -> Path:
        for name in parts:
            shutil.copytree(folder_of(name, published_home), folder_of(name, tmp_path))
        return tmp_path

    return make


def test_it_has_the_spaces_and_takes_every_input(embedder: Embedder) -> None:
    assert {name: space.dimension for name, space in embedder.spaces.items()} == SPACES
    assert embedder.modalities == VALUES.keys()


def test_more_samples_than_one_window_come_back_in_their_order(embedder: Embedder) -> None:
    captions = [Sample({"caption": "bus " * (n % 7 + 1)}) for n in range(70)]
    alone = embedder.embed(captions[:7], ["dinov2_global"])["dinov2_global"]
    rows = embedder.embed([*captions, SAMPLES[0]], ["dinov2_global"])["dinov2_global"]
    np.testing.assert_allclose(rows[:70], np.tile(alone, (10, 1)), atol=1e-5)


def test_soft_decoding_tends_to_hard_where_the_network_is_sure(
    published_home: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    hard = load("4M-21_B:decoding=hard", published_home).embed(SAMPLES, list(SPACES))
    soft = embedder.embed(SAMPLES, list(SPACES))
    plain = FourM.logits
    monkeypatch.setattr(FourM, "logits", lambda self, key, decoded: 1e6 * plain(self, key, decoded))
    sure = embedder.embed(SAMPLES, list(SPACES))
    for space in SPACES:
        assert not np.allclose(soft[space], hard[space], atol=1e-2)
        np.testing.assert_allclose(sure[space], hard[space], atol=1e-4)


def test_all_spaces_come_from_one_encoder_pass(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    plain = FourM.encode
    monkeypatch.setattr(FourM, "encode", lambda self, *given: passes.append(given) or plain(self, *given))
    embedder.embed(SAMPLES, list(SPACES))
    assert len(passes) == 1
    assert embedder.embed(SAMPLES, []) == {}
    assert len(passes) == 1


def _used_tokens(monkeypatch: pytest.MonkeyPatch, embedder: Embedder) -> list[int]:
    used: list[int] = []
    plain = FourM.run_encoder
    monkeypatch.setattr(
        FourM, "run_encoder", lambda self, tokens: used.append(tokens.mask.shape[1]) or plain(self, tokens)
    )
    embedder.embed([SAMPLES[0]], ["dinov2_global"])
    return used


def test_a_token_budget_encodes_fewer_patches(
    published_home: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _used_tokens(monkeypatch, embedder) == [196]
    assert _used_tokens(monkeypatch, load("4M-21_B:token_budget=98", published_home)) == [98]


def test_a_token_budget_changes_pictures_and_not_captions(published_home: Path, embedder: Embedder) -> None:
    thin = load("4M-21_B:token_budget=98", published_home).embed(SAMPLES, ["dinov2_global"])["dinov2_global"]
    whole = embedder.embed(SAMPLES, ["dinov2_global"])["dinov2_global"]
    assert not np.allclose(thin[0], whole[0], atol=1e-3)
    np.testing.assert_allclose(thin[1], whole[1], atol=1e-5)


def test_bfloat16_is_close_to_float32(published_home: Path, embedder: Embedder) -> None:
    rough = load("4M-21_B:dtype=bfloat16", published_home).embed(SAMPLES, list(SPACES))
    exact = embedder.embed(SAMPLES, list(SPACES))
    for space in SPACES:
        cosines = (rough[space] * exact[space]).sum(axis=1)
        assert rough[space].dtype == np.float32
        assert (cosines > 0.999).all()
        assert not np.array_equal(rough[space], exact[space])


def test_queries_go_to_dinov2_or_to_the_space_of_their_own_features(embedder: Embedder) -> None:
    assert {embedder.default_space(name) for name in ("rgb", "caption", "depth", "metadata")} == {"dinov2_global"}
    assert embedder.default_space("clip") == "clip"
    assert embedder.default_space("imagebind") == "imagebind_global"


def test_what_has_no_tokenizer_is_not_offered(part_of_home: Callable[..., Path], embedder: Embedder) -> None:
    home = part_of_home("4M-21_B", names.CLIP, names.VOCABULARY)
    partial = load("4M-21_B", home)
    assert partial.spaces.keys() == {"clip"}
    assert {"rgb", "caption", "clip", "color_palette"} <= partial.modalities
    assert partial.modalities.isdisjoint({"depth", "dinov2_global", "canny_edge"})
    assert partial.default_space("rgb") == "clip"
    assert partial.spaces["clip"].fingerprint == embedder.spaces["clip"].fingerprint
    assert known_models(home) == ("4m-tiny", "4m-tiny-open", "hashing", "4M-21_B")


def test_without_any_space_or_without_vocabulary_the_command_is_named(part_of_home: Callable[..., Path]) -> None:
    home = part_of_home("4M-21_B", names.RGB, names.VOCABULARY)
    with pytest.raises(WeightsMissing, match=f"anyseek models pull NAME`: {names.DINOV2_GLOBAL}, .*{names.CLIP}"):
        load("4M-21_B", home)
    shutil.rmtree(vocabulary_file(home).parent)
    with pytest.raises(WeightsMissing, match=f"anyseek models pull {names.VOCABULARY}"):
        load("4M-21_B", home)


def test_every_option_is_in_the_fingerprint(published_home: Path, embedder: Embedder) -> None:
    options = ("decoding=hard", "token_budget=98", "token_budget=50", "dtype=bfloat16", "dtype=bfloat16,decoding=hard")
    others = [load(f"4M-21_B:{option}", published_home) for option in options]
    prints = [one.spaces["clip"].fingerprint for one in (embedder, *others)]
    prints += [one.spaces["dinov2_global"].fingerprint for one in (embedder, *others)]
    assert len(set(prints)) == len(prints)
    for same in ("4M-21_B:dtype=float32,decoding=soft", "EPFL-VILAB/4M-21_B"):
        assert load(same, published_home).fingerprint == embedder.fingerprint
        assert load(same, published_home).name == same


@pytest.mark.parametrize("changed", ["4M-21_B", names.CLIP, names.VOCABULARY])
def test_other_weights_or_words_are_another_space(
    embedder: Embedder, part_of_home: Callable[..., Path], changed: str
) -> None:
    home = part_of_home("4M-21_B", names.CLIP, names.DINOV2_GLOBAL, names.VOCABULARY)
    record = installed(changed, home)
    write_record(replace(record, files={"added": InstalledFile("0" * 64, 0), **record.files}), folder_of(changed, home))
    (folder_of(changed, home) / "added").touch()
    spaces = load("4M-21_B", home).spaces
    assert spaces["clip"].fingerprint != embedder.spaces["clip"].fingerprint
    same = spaces["dinov2_global"].fingerprint == embedder.spaces["dinov2_global"].fingerprint
    assert same is (changed == names.CLIP)


def test_options_are_read_from_the_name() -> None:
    assert parse_name("4M-21_B") == ("4M-21_B", EmbedderOptions())
    assert parse_name("EPFL-VILAB/4M-21_XL:dtype=bfloat16,token_budget=98,decoding=hard") == (
        "4M-21_XL",
        EmbedderOptions(Decoding.HARD, 98, Precision.BFLOAT16),
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("4M-21_B:colour=red", "unknown option 'colour'; the options are decoding, token_budget, dtype"),
        ("4M-21_B:token_budget=0", "whole number, 1 or more, not '0'"),
        ("4M-21_B:token_budget", "whole number, 1 or more, not ''"),
        ("4M-21_B:dtype=float16", "float32 or bfloat16, not 'float16'"),
        ("4M-21_B:dtype=float32,dtype=bfloat16", "twice"),
    ],
)
def test_an_option_that_there_is_not_is_named(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match=said):
        load(name, tmp_path)


def test_only_networks_that_see_pictures_embed(tmp_path: Path) -> None:
    assert is_published("4M-7_L_CC12M:dtype=bfloat16")
    for name in (names.SUPER_RESOLUTION, names.CLIP, "4m-tiny"):
        assert not is_published(name)
    with pytest.raises(UnknownModel, match="is not a model"):
        load(names.CLIP, tmp_path)
    with pytest.raises(WeightsMissing, match="anyseek models pull 4M-7_L_CC12M"):
        load("4M-7_L_CC12M", tmp_path)
