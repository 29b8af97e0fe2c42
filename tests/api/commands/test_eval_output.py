"""The tables of `anyseek eval`."""

from anyseek.api.commands.eval_output import output_lines
from anyseek.search.evaluation.measures import Estimate
from anyseek.search.evaluation.outputs import OutputRow, Outputs


def test_predictions_stand_beside_what_the_average_gets() -> None:
    rows = (
        OutputRow("caption", "word_f1", 3, Estimate(0.5, 0.4, 0.6)),
        OutputRow("depth", "abs_rel", 3, Estimate(0.2, 0.1, 0.3)),
    )
    outputs = Outputs("things", ("rgb",), rows, ("a.png: cut short",))
    average = (OutputRow("depth", "abs_rel", 3, Estimate(0.25, 0.2, 0.3)),)
    assert list(output_lines(outputs, average)) == [
        "things: predicted from rgb alone",
        "modality          measure            things     value  95% interval      average",
        "caption           word_f1                 3     0.500  0.400 to 0.600",
        "depth             abs_rel                 3     0.200  0.100 to 0.300    0.250    (lower is better)",
        "average: the mean map of training things, whatever the picture",
        "left out: a.png: cut short",
    ]
    assert list(output_lines(outputs))[1].endswith("95% interval")
    assert list(output_lines(outputs))[3].endswith("0.100 to 0.300      (lower is better)")
