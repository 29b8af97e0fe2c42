"""Fitting a bridge to an open_clip model."""
