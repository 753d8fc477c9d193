"""What is said of each figure to those who do not see it, with its numbers."""

import numpy as np

from kjko.run.reader import Run

TEXTS = {
    "conservation": "Relative changes of what should be kept, over time",
    "kl": "Relative entropy of f to the stationary law over time",
    "marginal_kl": "Relative entropies of the marginals to the stationary ones over time",
    "energy": "Energies over time",
    "drift_error": "Mean-square error of the drift over time",
    "overfitting": "Gain of the objective on fitted and on held-out particles over time",
    "density": "Density in phase space at the times of the snapshots",
    "marginals": "Histograms of the coordinates beside those of the stationary law",
    "field_energy": "Energy of the electric field over time",
    "phase_space": "Particles in phase space at the times of the snapshots",
    "animation": "Phase space over time, an animation: in 1D1V f itself, by the mean log f of the"
    " particles in a cell and beside it, else the density of (x₁, v₁)",
    "verify": "Errors of the run against the known law, over time",
}
SERIES = {
    "kl": "kl_stationary",
    "field_energy": "field_energy",
    "drift_error": "drift_error",
}


def caption(name: str, run: Run) -> str:
    """A sentence on a figure, by its file's name."""
    text, key = TEXTS.get(name, name.replace("_", " ")), SERIES.get(name)
    if key in run.columns:
        values, times = run.columns[key], run.columns["time"]
        known = np.flatnonzero(np.isfinite(values))
        first, last = known[0], known[-1]
        text += (
            f": {values[first]:.3g} at t = {times[first]:g}, {values[last]:.3g} at"
            f" t = {times[last]:g}"
        )
    return text + "."
