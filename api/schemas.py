"""The JSON that several resources share, with examples for the OpenAPI description."""

from pydantic import BaseModel, ConfigDict, Field

from anyseek.model.seam import EmbeddingSpace

FINGERPRINT = "9f2c6b0e…"


class Body(BaseModel):
    """What a caller sends; unknown members are refused."""

    model_config = ConfigDict(extra="forbid")


class SpaceAnswer(BaseModel):
    name: str = Field(examples=["visual_global"])
    dimension: int = Field(examples=[1280])
    fingerprint: str = Field(examples=[FINGERPRINT])

    @classmethod
    def of(cls, space: EmbeddingSpace) -> "SpaceAnswer":
        return cls(name=space.name, dimension=space.dimension, fingerprint=space.fingerprint)


class ProblemAnswer(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(description="stable; programs should check this", examples=["urn:anyseek:item-not-found"])
    title: str
    status: int
    detail: str = Field(description="one sentence for a person")
    request_id: str = Field(description="also in the service's log and the X-Request-ID header")
    errors: list[dict[str, str]] = Field(default_factory=list, description="each invalid place of the request")
