"""What each part of a training is worth: the same short run with and without it, by recall on validation samples.

    python -m benchmarks.ablations configs/ablations.yaml --out runs/ablations

A file of ablations names a `base` config of `anyseek train model`, how many `steps` each run takes, what all of them
change (`common`) and what single ones change (`variants`): sections are merged, null takes a key out, and a variant may
have `steps` of its own. Runs are made one after the other below `--out`; what is finished there is only read, and what
was interrupted goes on. The table has recall among ten of the last evaluation, on the same validation samples for all.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from anyseek.model.training.pretraining.read_config import read_config
from anyseek.model.training.run.folder import RunFolder
from anyseek.model.training.run.records import read_records

RECALL = "recall@10/"


@dataclass(frozen=True)
class Variant:
    """A run by its name in the table, its config without its length, and its steps."""

    name: str
    config: Mapping[str, Any]
    steps: int

    def folder(self, out: Path) -> Path:
        return out / self.name.replace(" ", "-")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ablations", type=Path, help="a YAML file as said above")
    parser.add_argument("--out", type=Path, required=True, help="a folder for the runs")
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
    options = parser.parse_args()
    variants = read_variants(options.ablations)
    found = {variant.name: recalls(variant, options.out) for variant in variants}
    print(json.dumps(found) if options.json else "\n".join(as_table(found)))


def read_variants(path: Path) -> list[Variant]:
    """The runs that a file of ablations asks for."""
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    base = yaml.safe_load(Path(told["base"]).read_text(encoding="utf-8"))
    common = merged(base, told.get("common", {}))
    variants = []
    for name, changes in told["variants"].items():
        steps = changes.pop("steps", told["steps"])
        variants.append(Variant(name, merged(common, changes), steps))
    return variants


def merged(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with `changes` put in, section by section; what is null there is left out."""
    result = dict(config)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and value and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def recalls(variant: Variant, out: Path) -> dict[str, float]:
    """By target and query, in the last evaluation of the variant's run, which is made unless it is there."""
    folder = RunFolder(variant.folder(out))
    if not folder.model.is_file():
        config = _written(variant, out)
        command = [
            sys.executable,
            "-m",
            "anyseek",
            "train",
            "model",
            str(config),
            "--out",
            str(folder.root),
            "--resume",
        ]
        subprocess.run(command, check=True, stdout=sys.stderr)
    last = read_records(folder.root / "evaluation.csv")[-1]
    held = {name.removeprefix(RECALL): value for name, value in last.items() if name.startswith(RECALL)}
    return {name: float(value) for name, value in held.items() if value is not None}


def _written(variant: Variant, out: Path) -> Path:
    """The variant's config, evaluated once at its end."""
    out.mkdir(parents=True, exist_ok=True)
    path = variant.folder(out).with_suffix(".yaml")
    config = merged(variant.config, {"evaluation": {"every": variant.steps}})
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    config["total_tokens"] = read_config(path).tokens_per_step * variant.steps
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def as_table(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A row for each query, a column for each variant."""
    rows = list(dict.fromkeys(row for recalled in found.values() for row in recalled))
    lines = ["| R@10 | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    for row in rows:
        cells = (f"{recalled[row]:.2f}" if row in recalled else "" for recalled in found.values())
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
