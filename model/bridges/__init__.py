"""Bridges: an open_clip model and small fitted maps, through which it takes every modality."""
