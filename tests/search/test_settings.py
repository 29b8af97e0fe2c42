"""Settings from the environment and back, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from anyseek.model.json_reader import read_json
from anyseek.search.settings import (
    BadSetting,
    Limits,
    Photos,
    Settings,
    Work,
    displayed_value,
    mask_secrets,
    read_settings,
    variables,
)


def test_without_any_variable_all_is_embedded() -> None:
    settings = read_settings({"HOME": "/nowhere"})
    assert settings == Settings(Path("~/.anyseek").expanduser())
    assert settings.database_url == f"sqlite:///{settings.home}/catalogue.sqlite"
    assert not settings.broker_url


def test_every_setting_goes_into_variables_and_comes_back() -> None:
    settings = Settings(
        Path("/data"),
        replace(Limits(), pixels=7),
        "postgresql+psycopg://me:word@db/anyseek",
        "amqp://me:word@broker//",
        "hashing",
        (Path("/photos"), Path("/more")),
        work=replace(Work(), lease_seconds=2.5, memory_mb=900),
        photos=Photos(places=False),
    )
    assert read_settings(dict(variables(settings))) == settings
    assert dict(variables(settings))["ANYSEEK_WORK_LEASE_SECONDS"] == "2.5"
    assert dict(variables(settings))["ANYSEEK_ROOTS"] == "/photos:/more"
    assert dict(variables(settings))["ANYSEEK_PHOTOS_PLACES"] == "false"


def test_an_empty_variable_is_none() -> None:
    empty = {name: "" for name, _ in variables(Settings(Path("/data")))}
    assert read_settings(empty | {"ANYSEEK_HOME": "/data"}) == Settings(Path("/data"))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ANYSEEK_WORK_CONCURRENCY", "two", "must be a valid integer, not 'two'"),
        ("ANYSEEK_WORK_CONCURRENCY", "0", "must be greater than or equal to 1, not '0'"),
        ("ANYSEEK_WORK_LEASE_SECONDS", "nan", "a finite number"),
        ("ANYSEEK_THREADS", "-1", "greater than or equal to 0"),
        ("ANYSEEK_WORK_EMBEDDERS", "1.5", "a valid integer"),
        ("ANYSEEK_WORK_METRICS_PORT", "70000", "less than or equal to 65535"),
        ("ANYSEEK_LOGS_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("ANYSEEK_DATABASE_URL", "mysql://me:word@db/x", "mysql://me:***@db/x"),
        ("ANYSEEK_DATABASE_URL", "postgresql://db/x", "postgresql+psycopg://"),
        ("ANYSEEK_BROKER_URL", "filesystem://", "redis://"),
        ("ANYSEEK_INDEX_BACKEND", "milvus", "faiss, qdrant"),
        ("ANYSEEK_DEVICE", "gpu", "must be cpu, cuda, cuda:N"),
        ("ANYSEEK_PHOTOS_PLACES", "perhaps", "a valid boolean"),
        ("ANYSEEK_SERVING_PROXIES", "127.0.0.1, proxy", "'proxy' does not appear to be an IPv4 or IPv6"),
        ("ANYSEEK_SERVING_PROXIES", "10.0.0.1/8", "has host bits set"),
    ],
)
def test_what_cannot_be_is_refused_by_name(name: str, value: str, says: str) -> None:
    with pytest.raises(BadSetting, match=name) as refused:
        read_settings({name: value})
    assert says in str(refused.value)
    assert "word" not in str(refused.value)


def test_passwords_are_masked() -> None:
    assert mask_secrets("redis://:a:b/c@host:1/0") == "redis://:***@host:1/0"
    assert (
        mask_secrets("postgresql+psycopg://me@host/x?password=a&b=1")
        == "postgresql+psycopg://me@host/x?password=***&b=1"
    )
    assert mask_secrets("sqlite:////data/catalogue.sqlite") == "sqlite:////data/catalogue.sqlite"
    assert displayed_value("ANYSEEK_QDRANT_API_KEY", "secret") == "***"
    assert displayed_value("ANYSEEK_QDRANT_API_KEY", "") == ""
    settings = Settings(Path("/data"), database_url="postgresql+psycopg://me:hunter2@db/x")
    assert "hunter2" not in repr(settings)


def test_a_mask_counts_for_as_little_as_the_file_that_it_is_of() -> None:
    """A part has both, and a mask of a large picture took more than a whole query may."""
    long = "QUJD" * 400_000
    query = {"parts": [{"item": "a", "mask": long}, {"modality": "rgb", "data": long, "mask": long}]}
    limits = Limits()
    assert read_json(json.dumps(query).encode(), limits.json, "the body") == query


@pytest.mark.parametrize(
    ("url", "bucket", "assets"),
    [
        ("", "", "/data/assets"),
        ("file:///mnt/a%20b", "", "/mnt/a b/assets"),
        ("s3://bucket/prefix", "s3://bucket/prefix", "/data/assets"),
    ],
)
def test_where_stored_files_are(url: str, bucket: str, assets: str) -> None:
    settings = read_settings({"ANYSEEK_HOME": "/data", "ANYSEEK_ASSETS_URL": url})
    assert (settings.bucket, settings.assets) == (bucket, Path(assets))


@pytest.mark.parametrize(
    "url", ["bucket/prefix", "file://relative", "http://host/x", "ftp://host/x", "zip://a::s3://b", "memory://x"]
)
def test_where_stored_files_cannot_be(url: str) -> None:
    with pytest.raises(BadSetting, match=r"ANYSEEK_ASSETS_URL is .* it must be one of file:///…, s3://…"):
        read_settings({"ANYSEEK_ASSETS_URL": url})
