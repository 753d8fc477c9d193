"""The observables that a case can name."""

from kjko.interfaces import AbstractObservable
from kjko.observe import (
    DEFAULT,
    DriftError,
    Energies,
    Entropies,
    FitReport,
    Marginals,
    Positions,
    ScoreCheck,
)

OBSERVABLES: dict[str, AbstractObservable] = {
    "energies": Energies(),
    "entropies": Entropies(),
    "drift-error": DriftError(),
    "fit-report": FitReport(),
    "score-check": ScoreCheck(),
    "marginals": Marginals(),
    "positions": Positions(),
}
NAMES = tuple(OBSERVABLES)


def observables(names: list[str] | None) -> tuple[AbstractObservable, ...]:
    """Those of these names, or the default ones."""
    return DEFAULT if names is None else tuple(OBSERVABLES[name] for name in names)
