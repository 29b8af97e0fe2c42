"""`anyseek predict`: any modalities from any others, from one set of inputs or from each file of a folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from anyseek.api.commands.inputs import finite, known_modality, read_input, with_box, with_forms
from anyseek.api.commands.predict_folder import Output, folder_of, predict_folder
from anyseek.api.commands.predict_job import PredictionJob, asking, job_of
from anyseek.api.commands.predict_output import check_free, prediction_members, summary, write_folder
from anyseek.api.predictions.wire import LARGEST_SEED, Input

PARTLY = 1  # exit code where some of the targets were refused
_OPTIONS = ("seed", "steps", "guidance", "temperature", "top_p", "decoding_steps", "super_resolution", "points")


@click.command()
@click.option(
    "--input",
    "inputs",
    multiple=True,
    required=True,
    metavar="MODALITY=FILE",
    help="An input; repeat for each modality.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    required=True,
    metavar="MODALITY",
    help="A modality to predict; may be repeated.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The folder to write to; each target gets a folder in it.",
)
@click.option(
    "--form",
    "forms",
    multiple=True,
    metavar="MODALITY=FORM",
    help="What a map's numbers mean, if not what Anyseek's do, such as depth=near-bright.",
)
@click.option(
    "--box",
    nargs=4,
    type=click.FloatRange(0, 1),
    metavar="LEFT TOP RIGHT BOTTOM",
    help="With --input rgb=FILE: the part of the picture to predict from, as fractions of its sides.",
)
@click.option("--model", metavar="NAME", help="The model, such as 4M-21_B; 4m-tiny by default.")
@click.option(
    "--text-weight", type=float, callback=finite, help="How closely to follow the words; a negative weight leads away."
)
@click.option("--seed", type=click.IntRange(0, LARGEST_SEED), help="The same seed gives the same result.  [default: 0]")
@click.option("--steps", type=click.IntRange(1), help="In how many steps the tokens of a picture or map are decoded.")
@click.option(
    "--guidance", type=float, callback=finite, help="1 is as trained; a larger value follows the inputs more closely."
)
@click.option(
    "--temperature",
    type=click.FloatRange(0),
    callback=finite,
    help="The temperature of sampling; 0 takes the likeliest tokens.",
)
@click.option(
    "--top-p", type=click.FloatRange(0, 1), help="Draw only from the likeliest tokens that add up to this probability."
)
@click.option(
    "--decoding-steps", type=click.IntRange(1, 1000), help="Steps of the diffusion that makes pixels.  [default: 25]"
)
@click.option(
    "--super-resolution", is_flag=True, default=None, help="Predict 448 instead of 224 pixels, with 4M-7-SR_L_CC12M."
)
@click.option("--points", type=click.IntRange(0, 32), help="Predict sam_instance for N x N points of the picture.")
@click.option("--force", is_flag=True, help="Replace predictions that are already in the folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on one line.")
def predict(
    inputs: Sequence[str],
    targets: Sequence[str],
    out: Path,
    forms: Sequence[str],
    box: tuple[float, ...] | None,
    model: str | None,
    text_weight: float | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Predict modalities from others: depth, normals, segmentation, captions, palettes, boxes and more.

    An input is `MODALITY=FILE`. Words, colours and JSON may replace the file, as in `caption=a red bus`. FILE may end
    in a weight, as in `rgb=photo.jpg:0.7`, which says how closely to follow the input; a negative weight leads away.
    Targets are predicted in their order, and each sees those before it.

    If FILE is a folder, each file in it is predicted from on its own, many at once, and its targets go to
    OUT/FILE/TARGET. Files that cannot be predicted from are named, with exit code 1. Run it again to go on: it
    keeps what was predicted before in the same way.

    The service at ANYSEEK_URL predicts, or the running one if it serves that model, or else this process.
    """
    given = with_box(with_forms([read_input(value, text_weight) for value in inputs], forms), box)
    wanted = [known_modality(name).name for name in targets]
    asked = {name: options[name] for name in _OPTIONS if options[name] is not None}
    read_as = {"forms": list(forms), "box": list(box or ())}
    job = job_of(wanted, model, asked, {name: value for name, value in read_as.items() if value})
    folder = folder_of(given)
    output = Output(out, force, as_json)
    if folder is None:
        is_whole = _predict_files(job, given, inputs, output)
    else:
        is_whole = predict_folder(job, given, inputs, folder, output)
    return 0 if is_whole else PARTLY


def _predict_files(job: PredictionJob, given: Sequence[Input], inputs: Sequence[str], output: Output) -> bool:
    """Predict from inputs of one file each; return whether every target was predicted."""
    check_free(output.folder, job.targets, output.force)
    with asking(job) as ask:
        (found,) = ask([given])
    if isinstance(found, Exception):
        raise found
    made_with = job.made_with(found, inputs)
    folders = [write_folder(output.folder, each, made_with, output.force) for each in found.predicted]
    click.echo(json.dumps(prediction_members(found, folders)) if output.as_json else summary(found, folders))
    for refused in found.refused:
        click.echo(f"anyseek: {refused.detail}", err=True)
    return not found.refused
