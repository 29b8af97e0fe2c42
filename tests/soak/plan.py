"""How much is done in a soak: a day of a small library, or the share of it that fits in less time."""

from dataclasses import dataclass

CLIENTS = 4
_PUTS, _QUERIES, _DELETES = 10_000, 50_000, 2_000
_KEYS, _KILLS, _MOVES = 2_000, 6, 4


@dataclass(frozen=True)
class Plan:
    """Numbers of operations in `minutes`; all keys are put several times, so that what grows is not the library.

    `moves` are re-embeddings to the other of two models; one more is killed in the middle and begun again.
    """

    minutes: float
    puts: int
    queries: int
    deletes: int
    keys: int
    kills: int
    moves: int

    @property
    def operations(self) -> int:
        return self.puts + self.queries + self.deletes

    @classmethod
    def of(cls, minutes: float) -> "Plan":
        """An hour stands for a day; fewer minutes have their share of everything."""

        def shared(count: int, least: int) -> int:
            return max(least, round(count * minutes / 60))

        operations = shared(_PUTS, 40), shared(_QUERIES, 80), shared(_DELETES, 10)
        return cls(minutes, *operations, shared(_KEYS, 20), shared(_KILLS, 1), shared(_MOVES, 1))
