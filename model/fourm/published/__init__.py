"""The published 4M checkpoints: their names and locations, and how to fetch, check and load them."""
