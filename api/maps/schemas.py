"""The JSON of maps."""

from pydantic import BaseModel, Field

from anyseek.api.maps.colours import coloured
from anyseek.search.maps import CollectionMap, Place


class PlaceAnswer(BaseModel):
    key: str
    x: float = Field(description="from -1, left, to 1")
    y: float = Field(description="from -1, the bottom, to 1")
    value: str | float | bool | None = Field(description="the item's first value of the attribute of `colour_by`")
    colour: str | None = Field(description="the colour of that value, as in the legend")

    @classmethod
    def of(cls, place: Place, colour: str | None) -> "PlaceAnswer":
        return cls(key=place.key, x=place.x, y=place.y, value=place.value, colour=colour)


class MeaningAnswer(BaseModel):
    colour: str = Field(examples=["#0072b2"])
    label: str
    items: int


class MapAnswer(BaseModel):
    places: list[PlaceAnswer] = Field(description="in the order in which the items were first put")
    legend: list[MeaningAnswer] = Field(description="what the colours mean; empty without `colour_by`")
    space: str = Field(description="whose vectors were laid out")
    items: int = Field(description="how many items the collection has; those on the map are a sample if it has more")
    left_out: int = Field(
        description="how many of the chosen items have no sound vector in the space, or a damaged row"
    )

    @classmethod
    def of(cls, found: CollectionMap, is_coloured: bool) -> "MapAnswer":
        colouring = coloured([place.value for place in found.places]) if is_coloured else None
        colours = colouring.colours if colouring else [None] * len(found.places)
        return cls(
            places=[PlaceAnswer.of(place, colour) for place, colour in zip(found.places, colours, strict=True)],
            legend=[MeaningAnswer(**vars(meaning)) for meaning in colouring.legend] if colouring else [],
            space=found.space,
            items=found.items,
            left_out=found.left_out,
        )
