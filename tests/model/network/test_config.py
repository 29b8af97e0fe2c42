"""Modality rows and configs read from checkpoint metadata."""

from collections.abc import Mapping

import pytest

from anyseek.model.network.config import (
    ConfigInvalid,
    EmbeddingKind,
    FourMConfig,
    ModalityConfig,
    parse_metadata,
)

REQUIRED = {
    "domains_in": "['rgb@224', 'caption']",
    "domains_out": "['caption', 'tok_dinov2_global']",
    "image_size": "224",
    "patch_size": "16",
    "norm_bias": "False",
    "act_layer": "SiLU",
}


def _config(metadata: Mapping[str, str]) -> FourMConfig:
    return FourMConfig.from_values(parse_metadata(metadata))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("768", 768),
        ("4.0", 4.0),
        ("False", False),
        ("None", None),
        ("SiLU", "SiLU"),
        ("1e-06", "1e-06"),  # YAML 1.1 floats need a dot
        ("1.0e-06", 1e-6),
        ("('a', 'b')", "('a', 'b')"),
        ("['a', 'b@224']", ["a", "b@224"]),
        ("{'a': None, 'b': [1, 2]}", {"a": None, "b": [1, 2]}),
        ('"vit_b_enc"', "vit_b_enc"),
        ("[unclosed", "[unclosed"),
        ("2024-13-45", "2024-13-45"),  # looks like a date, is none
        ("[" * 9000, "[" * 9000),  # nested too deeply to parse
        ("[" + "1," * 5000 + "1]", "[" + "1," * 5000 + "1]"),  # longer than 10,000 characters
    ],
)
def test_metadata_values(text: str, value: object) -> None:
    assert parse_metadata({"key": text})["key"] == value


def test_more_tokens_than_the_position_table_are_refused() -> None:
    row = {"kind": "sequence", "vocabulary": 40, "max_length": 10, "most_tokens": 513}
    with pytest.raises(ConfigInvalid, match="most_tokens 513; at most 512"):
        ModalityConfig.from_fields("palette", row)


def test_config_ignores_unknown_keys_and_fills_defaults() -> None:
    config = _config(REQUIRED | {"format": "pt", "drop_path_rate_encoder": "0.1"})
    assert config.domains_out == ("caption", "tok_dinov2_global")
    assert (config.dim, config.norm_bias, config.share_modality_embeddings) == (768, False, True)


@pytest.mark.parametrize("key", sorted(REQUIRED))
def test_a_missing_required_key_is_named(key: str) -> None:
    with pytest.raises(ConfigInvalid, match=key):
        _config({k: v for k, v in REQUIRED.items() if k != key})


@pytest.mark.parametrize(
    ("key", "text"),
    [("dim", "wide"), ("dim", "True"), ("norm_bias", "1"), ("domains_in", "rgb@224"), ("mlp_ratio", "'4'")],
)
def test_a_value_of_another_type_is_named(key: str, text: str) -> None:
    with pytest.raises(ConfigInvalid, match=key):
        _config(REQUIRED | {key: text})


def test_an_unknown_modality_is_named() -> None:
    with pytest.raises(ConfigInvalid, match="tok_smell"):
        _config(REQUIRED | {"domains_in": "['tok_smell']"})


def test_a_checkpoint_brings_its_own_rows() -> None:
    rows = "{'map': {'kind': 'pixels', 'grid': [7, 7], 'patch': 1, 'channels': 256}}"
    config = _config(REQUIRED | {"domains_in": "['map']", "modalities": rows})
    row = config.row("map")
    assert (row.tokens, row.patch, row.channels, row.kind) == (49, 1, 256, EmbeddingKind.PIXELS)


def test_own_rows_win_over_published_ones() -> None:
    rows = "{'caption': {'kind': 'sequence', 'vocabulary': 8000, 'max_length': 64}}"
    config = _config(REQUIRED | {"modalities": rows})
    assert config.row("caption").vocabulary == 8000


def test_a_row_without_grid_takes_the_size_of_the_checkpoint() -> None:
    rows = "{'photo': {'kind': 'pixels'}}"
    metadata = REQUIRED | {"domains_in": "['photo']", "modalities": rows, "image_size": "64", "patch_size": "8"}
    row = _config(metadata).row("photo")
    assert (row.grid, row.patch) == ((8, 8), 8)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"kind": "smell"}, "smell"),
        ({"kind": "pixels", "colour": 3}, "colour"),
        ({"kind": "pixels", "grid": [7]}, "map"),
        ({"kind": "sequence", "vocabulary": 10}, "max_length"),
        ({"kind": "sequence", "vocabulary": 10, "max_length": 513}, "512"),
        ({"kind": "image_tokens"}, "vocabulary"),
        ("pixels", "map"),
    ],
)
def test_a_malformed_row_is_explained(fields: object, complaint: str) -> None:
    with pytest.raises(ConfigInvalid, match=complaint):
        ModalityConfig.from_fields("map", fields)


def test_metadata_round_trip(small_config: FourMConfig) -> None:
    assert _config(small_config.to_metadata()) == small_config
