"""How fast and how well the engine searches, against raw FAISS with the same index in one process: docs/indexes.md.

    python benchmarks/search.py [--json] [--size 20000] [--dimension 768] [--kind auto] [--queries 300] [--seconds 10]

Vectors lie in clusters of about 200. Everything is written to a catalogue in a temporary folder, as a service would, so
a million of 768 numbers take 10 GB of disk, 12 GB of memory and half an hour on two cores.
"""

import sys
from pathlib import Path

# Run as a script, this folder would come first, and `import search` would find this file.
sys.path[0] = str(Path(__file__).resolve().parents[1])

if __name__ == "__main__":
    from benchmarks.searching import main

    main(__doc__)
