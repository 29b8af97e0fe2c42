"""How sure a caption is, in JSON, in the client, and in words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from pydantic import TypeAdapter

from anyseek.api.commands.predict_output import summary
from anyseek.api.predictions.predictor import Predictor
from anyseek.api.predictions.requests import PredictionRequest
from anyseek.api.predictions.wire import Predictions, predictions_of
from anyseek.model.seam import Certainty, Guess, Model, Prediction, PredictOptions, Value

PICTURE = np.zeros((8, 8, 3), np.uint8)


class ImageAttribute:
    """A model that says one caption, and how sure it is."""

    name = "4m-tiny"
    targets = ("caption",)

    def __init__(self, certainty: Certainty | None) -> None:
        self._certainty = certainty

    def predict(
        self, samples: Sequence[Mapping[str, Value]], targets: Sequence[str], options: PredictOptions
    ) -> list[dict[str, Prediction]]:
        return [{"caption": Prediction("caption", "a photo of a dog", certainty=self._certainty)} for _ in samples]


def predictions(certainty: Certainty | None, tmp_path: Path) -> Predictions:
    """What a client reads from the JSON of a service whose model is so sure."""
    model = cast(Model, ImageAttribute(certainty))
    predictor = Predictor(tmp_path, "4m-tiny", serving=lambda: model)
    found = predictor.predict(PredictionRequest({"rgb": PICTURE}, ("caption",), PredictOptions()))
    members: dict[str, Any] = TypeAdapter(Predictions).dump_python(found, mode="json", by_alias=True)
    for prediction in members["predictions"]:
        for file in prediction["files"]:
            file["data"] = ""  # how bytes travel is no matter here
    return predictions_of(members)


@pytest.mark.parametrize(
    ("certainty", "words"),
    [
        (Certainty(0.9, True, (Guess("a photo of a wolf", 0.1),)), "a photo of a dog (90% sure)"),
        (
            Certainty(0.4, False, (Guess("a photo of a wolf", 0.5),)),
            "not sure; perhaps: a photo of a wolf (50%), a photo of a dog (40%)",
        ),
        (None, "a photo of a dog"),
    ],
)
def test_certainty_travels_and_is_told(certainty: Certainty | None, words: str, tmp_path: Path) -> None:
    found = predictions(certainty, tmp_path)
    (caption,) = found.predicted
    assert caption.confidence == (None if certainty is None else certainty.confidence)
    assert caption.sure == (None if certainty is None else certainty.sure)
    given = () if certainty is None else certainty.guesses
    assert [(guess.text, guess.probability) for guess in caption.guesses] == [(g.text, g.probability) for g in given]
    (line,) = summary(found, [tmp_path])
    assert line.endswith(f"  {words}")
