"""The tables of `anyseek eval`."""

from anyseek.api.commands.eval_output import output_lines
from anyseek.search.evaluation.measures import Estimate
from anyseek.search.evaluation.outputs import OutputRow, Outputs


def test_predictions_have_their_intervals_and_direction() -> None:
    rows = (
        OutputRow("caption", "word_f1", 3, Estimate(0.5, 0.4, 0.6)),
        OutputRow("depth", "abs_rel", 3, Estimate(0.2, 0.1, 0.3)),
    )
    assert list(output_lines(Outputs("things", ("rgb",), rows, ("a.png: cut short",)))) == [
        "things: predicted from rgb alone",
        "modality          measure            things     value  95% interval",
        "caption           word_f1                 3     0.500  0.400 to 0.600",
        "depth             abs_rel                 3     0.200  0.100 to 0.300    (lower is better)",
        "left out: a.png: cut short",
    ]
