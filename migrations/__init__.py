"""Alembic's scripts; `anyseek.search.catalogue.upgrade` runs them. Nobody imports this package."""
