"""The defaults on problems that nobody has chosen."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kjko
from kjko.case import load
from kjko.reference.closed_form import closed_form


class Bumpy(eqx.Module):
    """φ(x) = ½ xᵀKx + Σ a cos(w·x + b) + ¼ c |x|⁴: confining, not separable."""

    stiffness: jnp.ndarray
    waves: jnp.ndarray
    amplitudes: jnp.ndarray
    phases: jnp.ndarray
    quartic: float

    def __call__(self, x):
        bumps = self.amplitudes @ jnp.cos(self.waves @ x + self.phases)
        return 0.5 * x @ (self.stiffness @ x) + bumps + 0.25 * self.quartic * jnp.dot(x, x) ** 2


def random_problem(seed):
    """ε from 0.1 to 10, Δt from 0.02 to 0.2, d from 1 to 3; any law of two beams."""
    rng = np.random.default_rng(seed)
    d = 1 + seed % 3
    factor = rng.normal(size=(d, d))
    potential = Bumpy(
        stiffness=jnp.asarray(0.5 * np.eye(d) + 0.3 * factor @ factor.T),
        waves=jnp.asarray(rng.uniform(1, 6, (2, d)) * rng.choice([-1, 1], (2, d))),
        amplitudes=jnp.asarray(rng.uniform(0, 1, 2)),
        phases=jnp.asarray(rng.uniform(0, 2 * np.pi, 2)),
        quartic=float(rng.choice([0.0, rng.uniform(0, 0.5)])),
    )
    width = rng.uniform(0.5, 1.5)
    law = kjko.Product(
        kjko.GaussianPosition(rng.normal(size=d), rng.uniform(0.3, 1.5) * np.eye(d)),
        means=rng.normal(size=(2, d)),
        covariances=np.stack([width**2 * np.eye(d)] * 2),
        weights=np.array([0.4, 0.6]),
    )
    rate, temperature = 10 ** rng.uniform(-1, 1), rng.uniform(0.5, 2)
    problem = kjko.Problem(kjko.External(potential), kjko.FokkerPlanck(rate, temperature), law)
    return problem, d, float(10 ** rng.uniform(np.log10(0.02), np.log10(0.2)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_random_problems(seed):
    """To T = 5: no failure, no fold, no rise of the free energy beyond 1e-2."""
    problem, d, time_step = random_problem(seed)
    particles = kjko.sample(problem.law, 10_000, seed, "low-discrepancy")
    method = kjko.JKO(kjko.Gradient(kjko.Splines(d)))
    run = kjko.simulate(problem, method, particles, time_step=time_step, end_time=5.0)
    records = [record for _, record in run]
    energies = np.array([record["free_energy"] for record in records])
    assert np.diff(energies).max() <= 1e-2
    assert min(record["det_min"] for record in records[1:]) > 0


@pytest.mark.slow
def test_trained_functions_stay_smooth():
    """A run in which one of them stood as a wall from t = 2.9 on, with log f wrong by 0.025."""
    experiment = load("mixture-3d", ["particles.seed=1", "solver.end_time=4.0"]).build()
    law = closed_form(experiment.problem)
    assert law is not None
    for state, record in experiment.simulate([]):
        if record["step"] >= 10 and record["step"] % 5 == 0:
            x, v, log_f = (np.asarray(a, float) for a in jax.tree.leaves(state.particles))
            off = log_f - law.log_f(record["time"], x, v)
            assert np.sqrt(np.mean(off**2)) < 0.06 and abs(np.mean(off)) < 0.006, record["time"]
