"""Draw the curves of a run that matter for readers, as docs/weights.md shows them.

    python -m model.training.draw_curves RUN --to PICTURE.png [--only loss --only recall@10 ...]

RUN is the folder of a run of `anyseek train model`, finished or not; its own `curves.png` has every curve.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from model.training.pretraining.curves import Curve, Panel, draw_curves, panels_of
from model.training.pretraining.errors import TrainingDataInvalid
from model.training.pretraining.records import read_records

_ONLY = ("loss", "contrast", "recall@10")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run")
    parser.add_argument("--to", type=Path, required=True, help="the PNG")
    parser.add_argument("--only", action="append", help=f"what to draw; {', '.join(_ONLY)} unless given")
    options = parser.parse_args()
    draw(options.run, options.to, tuple(options.only or _ONLY))


def draw(run: Path, to: Path, only: Sequence[str]) -> None:
    """Draw the panels of a run whose quantity is among `only`. Raises `TrainingDataInvalid` where there are none."""
    panels = panels_of(read_records(run / "metrics.csv"), read_records(run / "evaluation.csv"))
    chosen = [part for panel in panels if panel.title.partition("/")[0] in only for part in by_target(panel)]
    if not chosen:
        has = ", ".join(dict.fromkeys(panel.title.partition("/")[0] for panel in panels)) or "nothing"
        raise TrainingDataInvalid(f"{run} has measured {has}, and none of {', '.join(only)}")
    draw_curves(chosen, to)


def by_target(panel: Panel) -> list[Panel]:
    """A panel of recalls as one for each target, its curves named by what was shown; any other panel as it is."""
    if not panel.title.startswith("recall@"):
        return [panel]
    parts: dict[str, dict[str, Curve]] = {}
    for name, curve in panel.curves.items():
        target, _, query = name.partition("/")
        parts.setdefault(target, {})[query] = curve
    return [Panel(f"{panel.title} of {target}", _best_first(curves)) for target, curves in parts.items()]


def _best_first(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    """Curves by their last value, the best first."""
    return dict(sorted(curves.items(), key=lambda one: -(one[1][-1][1] if one[1] else 0.0)))


if __name__ == "__main__":
    main()
