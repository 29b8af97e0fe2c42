"""The published 4M checkpoints: their names, where they lie, fetching, checking and loading them."""
