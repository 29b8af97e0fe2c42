"""Fitting of bridges to open_clip models."""
