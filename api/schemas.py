"""The JSON of the API, with examples for its OpenAPI description."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from api.wire import DEFAULT_HITS
from model.embedder import Embedder, EmbeddingSpace, Fusion
from search.types import Asset, Collection, Hit, Item, Results, Space

_FINGERPRINT = "9f2c6b0e…"


class Body(BaseModel):
    """What a caller sends: nothing in it is ignored."""

    model_config = ConfigDict(extra="forbid")


class CollectionBody(Body):
    model_config = ConfigDict(json_schema_extra={"example": {"name": "photos"}})
    name: str


class ReembedBody(Body):
    model_config = ConfigDict(json_schema_extra={"example": {"model": "4M-21_B"}})
    model: str = Field(description="an installed model; `anyseek models list` names them")


class SwitchAnswer(BaseModel):
    left_out: int = Field(description="items that have no vectors now")


class PartBody(Body):
    """One piece of a query: a modality with exactly one of `text` and `data`, or the key of an `item`."""

    modality: str | None = Field(
        None, description="such as rgb, caption, sketch, color_palette; not needed for an item"
    )
    text: str | None = Field(None, description="words, or colours as #rrggbb,#rrggbb")
    data: str | list[str] | None = Field(
        None, description="the file's bytes as base64; for captions and palettes the value itself"
    )
    item: str | None = Field(None, description="the key of an item of the collection: more like this")
    weight: FiniteFloat = Field(1.0, description="how much it counts; negative to push away")
    name: str | None = Field(None, max_length=4096, description="what errors call it, such as the file's name")
    classes: dict[str, str] | None = Field(None, description='names of the ids of a segmentation map: {"0": "sky"}')


class QueryBody(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"parts": [{"modality": "caption", "text": "a red bicycle"}], "k": 5},
                {"parts": [{"item": "holiday/0042.jpg"}, {"modality": "caption", "text": "night", "weight": -0.5}]},
                {
                    "parts": [{"modality": "caption", "text": "a dog"}],
                    "where": "width >= 1000 and label in (dog, wolf)",
                },
            ]
        }
    )
    parts: list[PartBody] = Field(min_length=1)
    k: Annotated[int, Field(ge=1, le=10_000, description="how many hits")] = DEFAULT_HITS
    space: str | None = Field(None, description="the space to search; the model chooses unless it is given")
    fusion: Fusion | None = Field(
        None,
        description="joint: all parts in one pass of the model; late: a vector a part, added by weight; the model "
        "chooses unless it is given",
    )
    where: dict[str, Any] | str | None = Field(
        None, description='which items may be hits: `width >= 1000`, or as JSON {"field": "width", "gte": 1000}'
    )


class BatchBody(Body):
    """Many queries for one model pass. One that is wrong gets an error in its place and spoils no other."""

    queries: list[Any] = Field(
        description="queries as for `/query`",
        examples=[[{"parts": [{"modality": "caption", "text": "a cat"}]}, {"parts": [{"item": "0042.jpg"}], "k": 3}]],
    )


class AssetAnswer(BaseModel):
    name: str = Field(examples=["thumbnail"])
    media_type: str = Field(examples=["image/jpeg"])
    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, asset: Asset) -> "AssetAnswer":
        return cls(name=asset.name, media_type=asset.media_type, size_bytes=asset.size_bytes, sha256=asset.sha256)


class ItemAnswer(BaseModel):
    key: str = Field(examples=["holiday/0042.jpg"])
    caption: str | None
    attributes: Mapping[str, Any]
    revision: int = Field(description="1, and one more with each change")
    assets: list[AssetAnswer]

    @classmethod
    def of(cls, item: Item) -> "ItemAnswer":
        assets = [AssetAnswer.of(asset) for _, asset in sorted(item.assets.items())]
        return cls(
            key=item.key, caption=item.caption, attributes=item.attributes, revision=item.revision, assets=assets
        )


class ItemsAnswer(BaseModel):
    items: list[ItemAnswer]
    next: str | None = Field(description="send it as `after` for the page that follows; null at the end")


class HitAnswer(BaseModel):
    key: str = Field(examples=["holiday/0042.jpg"])
    score: float = Field(description="cosine, higher is better", examples=[0.83])
    rank: int = Field(description="from 1", examples=[1])
    caption: str | None = None
    attributes: Mapping[str, Any] = Field(default_factory=dict)
    assets: list[str] = Field(default_factory=list, description="names of the item's files")

    @classmethod
    def of(cls, hit: Hit) -> "HitAnswer":
        item = hit.item
        return cls(
            key=item.key,
            score=hit.score,
            rank=hit.rank,
            caption=item.caption,
            attributes=item.attributes,
            assets=sorted(item.assets),
        )


class QueryAnswer(BaseModel):
    hits: list[HitAnswer]
    space: str = Field(examples=["visual_global"])
    fusion: Fusion | None = Field(description="how the parts became one vector; null for one part", examples=["late"])

    @classmethod
    def of(cls, results: Results) -> "QueryAnswer":
        hits = [HitAnswer.of(hit) for hit in results.hits]
        return cls(hits=hits, space=results.space, fusion=results.fusion)


class BriefHit(BaseModel):
    key: str
    score: float
    rank: int


class BatchEntry(BaseModel):
    """Hits, their space and fusion, or why there are none."""

    hits: list[BriefHit] | None = None
    space: str | None = None
    fusion: Fusion | None = None
    error: str | None = None

    @classmethod
    def of(cls, outcome: Results | Exception) -> "BatchEntry":
        if isinstance(outcome, Exception):
            return cls(error=str(outcome))
        hits = [BriefHit(key=hit.item.key, score=hit.score, rank=hit.rank) for hit in outcome.hits]
        return cls(hits=hits, space=outcome.space, fusion=outcome.fusion)


class BatchAnswer(BaseModel):
    results: list[BatchEntry]


class SpaceAnswer(BaseModel):
    name: str = Field(examples=["visual_global"])
    dimension: int = Field(examples=[1280])
    fingerprint: str = Field(examples=[_FINGERPRINT])

    @classmethod
    def of(cls, space: Space | EmbeddingSpace) -> "SpaceAnswer":
        return cls(name=space.name, dimension=space.dimension, fingerprint=space.fingerprint)


class CollectionAnswer(BaseModel):
    name: str = Field(examples=["photos"])
    model: str = Field(examples=["4m-tiny"])
    items: int = Field(description="how many there are")
    spaces: list[SpaceAnswer]
    beside: Mapping[str, str] = Field(
        description="models whose vectors do not serve: being built, kept since the last switch, or returning",
        examples=[{"kept": "hashing"}],
    )
    created_at: datetime

    @classmethod
    def of(cls, collection: Collection, items: int) -> "CollectionAnswer":
        return cls(
            name=collection.name,
            model=collection.model,
            items=items,
            spaces=[SpaceAnswer.of(space) for space in collection.spaces.values()],
            beside=collection.beside,
            created_at=collection.created_at,
        )


class CollectionsAnswer(BaseModel):
    collections: list[CollectionAnswer]


class ModelAnswer(BaseModel):
    name: str = Field(examples=["4m-tiny"])
    fingerprint: str = Field(examples=[_FINGERPRINT])
    modalities: list[str] = Field(examples=[["caption", "rgb"]])
    spaces: list[SpaceAnswer]

    @classmethod
    def of(cls, embedder: Embedder) -> "ModelAnswer":
        return cls(
            name=embedder.name,
            fingerprint=embedder.fingerprint,
            modalities=sorted(embedder.modalities),
            spaces=[SpaceAnswer.of(space) for space in embedder.spaces.values()],
        )


class ModelsAnswer(BaseModel):
    models: list[ModelAnswer]


class HealthAnswer(BaseModel):
    status: str = Field(examples=["ok"])
    model: str = Field(description="loading, ready or failed; `/readyz` tells why it failed", examples=["ready"])


class ProblemAnswer(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(description="stable; what a program should look at", examples=["urn:anyseek:item-not-found"])
    title: str
    status: int
    detail: str = Field(description="one sentence for a person")
    request_id: str = Field(description="also in the service's log and the X-Request-ID header")
    errors: list[dict[str, str]] = Field(default_factory=list, description="each wrong place of an invalid request")
