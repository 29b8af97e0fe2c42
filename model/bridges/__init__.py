"""Bridges: an open_clip model with small fitted maps, so that it takes every modality."""
