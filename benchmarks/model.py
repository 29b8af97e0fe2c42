"""How fast a published 4M network embeds here, and how far bfloat16 is from float32: see docs/speed.md.

    python benchmarks/model.py [--json] [--threads 2] [--repetitions 5] [--quick]

Weights are random, of the shape of 4M-21_B. Needs about 6 GB of memory and, with `--repetitions 5`, five minutes on two
quiet cores. `--quick` runs everything once on a network small enough to say nothing about speed.
"""

import sys
from pathlib import Path

# Run as a script, this folder would come first, and `import model` would find this file.
sys.path[0] = str(Path(__file__).resolve().parents[1])

if __name__ == "__main__":
    from benchmarks.embedding import main

    main(__doc__)
