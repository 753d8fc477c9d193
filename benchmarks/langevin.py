"""Stochastic particles: the same equation by sampling, without a density."""

import equinox as eqx
import jax
import jax.numpy as jnp

import kjko


@eqx.filter_jit
def langevin(problem: kjko.Problem, particles: kjko.Particles, dt: float, steps: int):
    """Exact Ornstein-Uhlenbeck between Verlet half steps, in one scan; moments at every step."""
    half, rate = kjko.StormerVerlet(), problem.collision_rate * dt
    width = jnp.sqrt(problem.temperature * -jnp.expm1(-2 * rate))

    def step(particles, key):
        particles, _ = half(particles, problem.force, None, dt / 2)  # x, v at t + dt/2
        v = particles.v * jnp.exp(-rate) + width * jax.random.normal(key, particles.v.shape)
        particles = eqx.tree_at(lambda p: p.v, particles, v)  # after the collision
        particles, _ = half(particles, problem.force, None, dt / 2)  # x, v at t + dt
        z = jnp.concatenate([particles.x, particles.v], axis=1)
        return particles, (jnp.mean(z, axis=0), jnp.cov(z.T, bias=True))

    return jax.lax.scan(step, particles, jax.random.split(jax.random.key(0), steps))
