"""Alembic's scripts; `search.catalogue.upgrade` runs them. Nobody imports this package."""
