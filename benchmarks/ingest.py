"""How fast inputs go into a collection, against the model alone, and in how much memory: docs/indexing.md.

    python benchmarks/ingest.py [--json] [--large 64] [--small 256] [--rounds 3] [--workers] [--memory 1000,10000]

Files are generated in a temporary folder, 200 MB for 64 large ones. The model 4m-tiny is measured where its encoders
have been pulled, `--workers` where PostgreSQL and Redis are installed. `--memory ""` leaves that part out; with 100,000
files it takes five minutes on two cores.
"""

import sys
from pathlib import Path

# Run as a script, this folder would come first, and `import search` would find `search.py` in it.
sys.path[0] = str(Path(__file__).resolve().parents[1])

if __name__ == "__main__":
    from benchmarks.ingesting import main

    main(__doc__)
