"""Stochastic particles: the same equation by sampling, without a density."""

import equinox as eqx
import jax
import jax.numpy as jnp

import kjko


@eqx.filter_jit
def langevin(problem: kjko.Problem, particles: kjko.Particles, dt: float, steps: int):
    """`kjko.Langevin` in one scan: the last particles, and moments at every step."""
    method = kjko.Langevin()

    def step(state, _):
        state, _ = method.step(problem, state)
        z = jnp.concatenate([state.particles.x, state.particles.v], axis=1)
        return state, (jnp.mean(z, axis=0), jnp.cov(z.T, bias=True))

    state, moments = jax.lax.scan(step, method.init(problem, particles, dt), length=steps)
    return state.particles, moments
