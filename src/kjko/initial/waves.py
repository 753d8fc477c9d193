"""A law in x that is a sum of single waves, in any direction."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kjko.initial.positions import Points, Uniforms


class Waves(eqx.Module):
    """ρ(x) = (1 + Σⱼ aⱼ cos(kⱼ·x + φⱼ))/|Ω|, kⱼ = 2π mⱼ/L, in a periodic box of `length` L.

    `amplitude` a (J), Σ|aⱼ| ≤ 1; `mode` m (J × d): whole numbers of waves along each side, not all
    zero; `phase` φ (J), zero if not given. Raises ValueError otherwise.
    """

    length: Float[Array, " d"] = eqx.field(converter=jnp.asarray)
    amplitude: Float[Array, " j"] = eqx.field(converter=jnp.asarray)
    mode: Float[Array, "j d"] = eqx.field(converter=lambda m: jnp.asarray(m, dtype=float))
    phase: Float[Array, " j"] | None = eqx.field(
        default=None, converter=lambda p: None if p is None else jnp.asarray(p)
    )

    def __check_init__(self) -> None:
        number = self.amplitude.size
        phases = number if self.phase is None else self.phase.size
        if self.mode.shape != (number, self.length.size) or phases != number:
            raise ValueError("mode: need a number for each wave and side of the box")
        mode, amplitude = np.asarray(self.mode), np.asarray(self.amplitude)
        if np.any(mode != np.round(mode)) or np.any(np.all(mode == 0, axis=1)):
            raise ValueError("mode: must be whole numbers of waves in the box, not all zero")
        if np.abs(amplitude).sum() > 1 + 1e-6:
            raise ValueError("amplitude: must have absolute values of sum 1 at most")

    @property
    def dimension(self) -> int:
        return self.length.size

    @property
    def modes(self) -> Float[np.ndarray, " d"]:
        there = np.asarray(self.amplitude) != 0
        return np.abs(np.asarray(self.mode))[there].max(axis=0, initial=0.0)

    def points(self, uniforms: Uniforms) -> Points:
        """Coordinate by coordinate, the inverse of its distribution function given those before."""
        length, a, mode = (
            np.asarray(p, dtype=float) for p in (self.length, self.amplitude, self.mode)
        )
        phase = np.zeros_like(a) if self.phase is None else np.asarray(self.phase, dtype=float)
        angle = np.broadcast_to(phase, (len(uniforms), a.size))
        columns = []
        for i, (side, u) in enumerate(zip(length, uniforms.T, strict=True)):
            # Waves that later coordinates carry on have the mean zero over these.
            ends_here = np.all(mode[:, i + 1 :] == 0, axis=1)
            k = 2 * np.pi * mode[:, i] / side
            x = _inverse(u, side, np.where(ends_here, a, 0.0), k, angle)
            angle = angle + k * x[:, None]
            columns.append(x)
        return np.stack(columns, axis=1)

    def log_density(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        angle = 2 * jnp.pi * self.mode @ (x / self.length)
        angle = angle if self.phase is None else angle + self.phase
        return jnp.log1p(self.amplitude @ jnp.cos(angle)) - jnp.sum(jnp.log(self.length))


def _inverse(
    u: Float[np.ndarray, " n"],
    side: float,
    a: Float[np.ndarray, " j"],
    k: Float[np.ndarray, " j"],
    angle: Float[np.ndarray, "n j"],
) -> Float[np.ndarray, " n"]:
    """x with ∫₀ˣ (1 + Σ a cos(kx + angle)) dx = u times the whole, by bisection."""
    still = k == 0
    level = 1 + np.cos(angle[:, still]) @ a[still]
    a, k, angle = a[~still], k[~still], angle[:, ~still]
    low, high = np.zeros_like(u), np.full_like(u, side)
    for _ in range(54):  # bisection gains a bit of the 53 in each
        x = 0.5 * (low + high)
        waves = (np.sin(angle + k * x[:, None]) - np.sin(angle)) / k
        below = level * x + waves @ a < u * level * side
        low, high = np.where(below, x, low), np.where(below, high, x)
    return low
