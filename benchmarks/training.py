"""How fast training runs here, what it keeps in memory, and how soon it goes on: see docs/training.md.

    python benchmarks/training.py [--json] [--network tiny] [--batch 8] [--threads 2] [--repetitions 5] [--quick]
    python benchmarks/training.py --device cuda --network B --batch 256   # also model FLOP utilisation, largest batch

Samples are random numbers in memory, with the published 256 input and 256 target tokens, in two modalities each way;
so no data is read. A step is that of the training loop: forward, backward, mean over processes, AdamW, averages.
"""

import sys
from pathlib import Path

# Run as a script, this folder would come first, and `import model` would find another file.
sys.path[0] = str(Path(__file__).resolve().parents[1])

if __name__ == "__main__":
    from benchmarks.training_runs import main

    main(__doc__)
