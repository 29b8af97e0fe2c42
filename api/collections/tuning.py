"""The JSON of tuning a collection, with examples for the OpenAPI description."""

from pydantic import BaseModel, Field

from anyseek.api.schemas import Body
from anyseek.indexer.tuning import DEFAULT_ITEMS, MOST_ITEMS, Tuned
from anyseek.search.query.means import FEWEST, Trial


class TuneBody(Body):
    items: int = Field(
        DEFAULT_ITEMS, ge=FEWEST, le=MOST_ITEMS, description="how many items, drawn by a seed, to make queries from"
    )
    dry_run: bool = Field(False, description="measure, and change nothing")


class RecalledAnswer(BaseModel):
    at_10: float = Field(description="the share of queries whose item is among the first ten", examples=[0.62])
    at_1: float = Field(description="the share of queries whose item comes first", examples=[0.31])


class TrialAnswer(BaseModel):
    """One kind of query, asked for the pictures of the chosen items; half of them measured by a mean of the others."""

    modality: str = Field(examples=["canny_edge"])
    space: str = Field(examples=["photo_global"])
    queries: int = Field(examples=[256])
    before: RecalledAnswer
    after: RecalledAnswer
    kept: bool = Field(description="whether the fitted mean loses nothing, so that it is used")

    @classmethod
    def of(cls, trial: Trial) -> "TrialAnswer":
        return cls(
            modality=trial.modality,
            space=trial.space,
            queries=trial.queries,
            before=RecalledAnswer(**vars(trial.before)),
            after=RecalledAnswer(**vars(trial.after)),
            kept=trial.helps,
        )


class TunedAnswer(BaseModel):
    trials: list[TrialAnswer]
    items: int = Field(description="how many items were chosen")
    unreadable: int = Field(description="how many of them could not be read")
    dry_run: bool

    @classmethod
    def of(cls, tuned: Tuned, dry_run: bool) -> "TunedAnswer":
        trials = [TrialAnswer.of(trial) for trial in tuned.trials]
        return cls(trials=trials, items=tuned.items, unreadable=tuned.unreadable, dry_run=dry_run)
