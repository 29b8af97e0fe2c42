"""How fast and how well the engine searches, against raw FAISS with the same index in one process: docs/indexes.md.

    python -m benchmarks.search [--vectors 20000] [--folder DIR] [--bulk] [--json] [--dimension 768] [--kind auto]
                                [--queries 200] [--seconds 10] [--clients 1,8,32]

Vectors lie in clusters of about 200. They are written to a catalogue and indexed as a service would do it; `--folder`
keeps both, goes on with what was left half-made there, and a repeat only measures. `--bulk` writes the same rows of the
catalogue directly, in half the time. A million of 768 numbers take 13 GB of disk and 8 GB of memory.

All that is compared is measured in turns, query by query, so noise of the machine falls on all of it. Beside the time
of the clock there is that of the processor in the querying thread, which other work on the machine hardly moves.
"""

import sys
from pathlib import Path

# Run as a script, this folder would come first, and `import search` would find this file.
sys.path[0] = str(Path(__file__).resolve().parents[1])

if __name__ == "__main__":
    from benchmarks.searching import main

    main(__doc__)
