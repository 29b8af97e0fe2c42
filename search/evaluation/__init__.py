"""Measures how well a model finds things: recall by kind of query and kind of item, compared with baselines."""
