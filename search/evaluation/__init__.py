"""How well a model finds things: recall by kind of query and kind of item, beside what it must beat."""
