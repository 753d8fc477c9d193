"""Controls and the bases of gradient controls, each as a function of one particle."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import asymmetric_problem, free_stage

import kjko
from kjko.bases import FourierHermite, Quadratics, RandomTanh, Splines
from kjko.controls import Gradient
from kjko.simulation import take_step
from kjko.splitting.transport import determinant, response

LENGTH = (0.7, 2.0, 3.1)


def stage_of(d, number=30):
    """Particles far from unit scales, some beyond four standard deviations in x."""
    rng = np.random.default_rng(d)
    x = jnp.asarray(0.4 + 0.3 * rng.standard_t(3, size=(number, d)))
    v = jnp.asarray(-1.0 + 2.0 * rng.normal(size=(number, d)))
    return free_stage(x, v)


def basis_of(kind, d, periodic):
    length = LENGTH[:d] if periodic else None
    if kind is Quadratics:
        return Quadratics(d, periodic)
    if kind is RandomTanh:
        return RandomTanh(d, 20, length, key=jax.random.key(d))
    if kind is Splines:
        return Splines(d, (12, 4), length)
    return FourierHermite(d, 30 * d, length)


BASES = [
    pytest.param(kind, d, periodic, id=f"{kind.__name__}-{d}-{'box' if periodic else 'free'}")
    for kind in (Quadratics, FourierHermite, RandomTanh)
    for d in (1, 3)
    for periodic in (False, True)
]


def functions(basis):
    """Φ(x, v), all functions one by one, from the potential alone."""

    def of(x, v):
        return jax.vmap(lambda c: basis.potential(x, v, c))(jnp.eye(basis.size))

    return of


@pytest.mark.parametrize(("kind", "d", "periodic"), BASES)
def test_a_basis_against_automatic_differentiation(kind, d, periodic, double):
    """(1 + a·∇ᵥ − B:∇ᵥ²)Φ·c and ∇ᵥ(Φ·c), from Φ alone, for any a and any symmetric B."""
    stage = stage_of(d)
    basis = basis_of(kind, d, periodic).adapt(stage)
    rng = np.random.default_rng(0)
    c = jnp.asarray(rng.normal(size=basis.size))
    slope = jnp.asarray(rng.normal(size=(30, d)))
    factor = rng.normal(size=(30, d, d))
    curvature = jnp.asarray(factor + factor.transpose(0, 2, 1))
    control = eqx.tree_at(lambda u: (u.basis, u.coefficients), Gradient(basis), (basis, c))

    @jax.jit
    @jax.vmap
    def by_differentiation(x, v, a, b):
        phi = functions(basis)
        slopes = jax.jacfwd(phi, argnums=1)(x, v)
        second = jnp.einsum("pij,ij->p", jax.hessian(phi, argnums=1)(x, v), b)
        return phi(x, v) + slopes @ a - second, slopes.T @ c, control(x, v)

    @jax.jit
    def by_design(r):
        design = basis.design(stage, slope, curvature)
        return design.apply(c), design.transpose(r)

    rows, expected, found = map(np.asarray, by_differentiation(stage.x, stage.v, slope, curvature))
    np.testing.assert_allclose(found, expected, atol=1e-10 * np.abs(expected).max())
    r = rng.normal(size=30)
    for ours, plain in zip(by_design(r), (rows @ c, r @ rows), strict=True):
        scale = np.abs(plain).max()
        np.testing.assert_allclose(ours / scale, plain / scale, atol=1e-10)


@pytest.mark.parametrize("kind", [Quadratics, FourierHermite, RandomTanh])
def test_a_basis_spans_the_quadratics(kind, double):
    """So that a Gaussian law is met exactly."""
    stage = stage_of(2)
    phi = jax.jit(jax.vmap(functions(basis_of(kind, 2, False).adapt(stage))))(stage.x, stage.v)
    z = np.concatenate([stage.x, stage.v], axis=1)
    for target in (np.ones(30), z[:, 0] * z[:, 3], (z[:, 2] - z[:, 1]) ** 2):
        fitted = np.linalg.lstsq(np.asarray(phi[:, :15]), target, rcond=None)[0]
        np.testing.assert_allclose(phi[:, :15] @ fitted, target, atol=1e-10)


@pytest.mark.parametrize("kind", [FourierHermite, RandomTanh])
@pytest.mark.parametrize("d", [1, 3])
def test_a_basis_has_about_the_size_asked_for(kind, d):
    for size in (60, 300):
        given = (kind(d, size, key=jax.random.key(0)) if kind is RandomTanh else kind(d, size)).size
        quadratics = Quadratics(d).size
        assert size <= given <= size + quadratics + 10 * d


def random_leaves(control, seed=5):
    """The control with random numbers for all its parameters."""
    params, static = eqx.partition(control, eqx.is_inexact_array)
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), params)
    return eqx.combine(params, static)


def gradient_in_a_box(kind):
    control = Gradient(basis_of(kind, 2, True).adapt(stage_of(2)))
    values = np.random.default_rng(1).normal(size=control.coefficients.shape)
    return eqx.tree_at(lambda u: u.coefficients, control, jnp.asarray(values))


PERIODIC = {
    "affine": lambda: random_leaves(kjko.Periodic(kjko.Affine(2, 4), LENGTH[:2])),
    "mlp": lambda: random_leaves(
        kjko.Periodic(kjko.MLP(2, (8,), inputs=4, key=jax.random.key(0)), LENGTH[:2])
    ),
    "fourier-hermite": lambda: gradient_in_a_box(FourierHermite),
    "random-tanh": lambda: gradient_in_a_box(RandomTanh),
    "splines": lambda: gradient_in_a_box(Splines),
}


@pytest.mark.parametrize("make", PERIODIC.values(), ids=PERIODIC)
def test_periodic_in_the_box_and_not_more(make, double):
    """The period is L and no part of it, in each coordinate by itself, and there is no mirror.

    sin alone would have the mirror x -> L/2 − x, cos alone x -> L − x.
    """
    control = jax.jit(jax.vmap(make()))
    rng = np.random.default_rng(2)
    length = np.array(LENGTH[:2])
    x, v = rng.random((10, 2)) * length, rng.normal(size=(10, 2))
    here = np.asarray(control(x, v))
    scale = np.abs(here).max()
    for shift in ([1, 0], [0, 1], [-2, 3]):
        there = control(x + shift * length, v)
        np.testing.assert_allclose(there / scale, here / scale, atol=1e-10)
    for other in (x + [0.5 * length[0], 0.0], x + [0.0, 0.5 * length[1]]):
        assert np.abs(control(other, v) - here).max() > 1e-2 * scale
    for i in range(2):
        for mirror in (0.5, 1.0):
            other = x.copy()
            other[:, i] = mirror * length[i] - x[:, i]
            assert np.abs(control(other, v) - here).max() > 1e-2 * scale


def test_leaky_relu(double):
    """Slope 0.01 below zero, by a network of one neuron."""
    control = kjko.MLP(1, (1,), "leaky-relu", key=jax.random.key(0))
    where = lambda c: [w for layer in c.layers for w in (layer.weight, layer.bias)]  # noqa: E731
    one, zero = jnp.ones((1, 1)), jnp.zeros(1)
    control = eqx.tree_at(where, control, [jnp.array([[0.0, 1.0]]), zero, one, zero])
    at = jax.value_and_grad(lambda v: control(jnp.zeros(1), v)[0])
    np.testing.assert_allclose(jnp.stack(jax.tree.leaves(at(-jnp.ones(1)))[1]), [0.01])
    assert float(at(-jnp.ones(1))[0]) == pytest.approx(-0.01)
    assert float(at(2 * jnp.ones(1))[0]) == pytest.approx(2.0)


@eqx.filter_jit
def at_once_and_one_by_one(control, stage):
    """What the library makes of all particles, and u and ∇ᵥu of each by itself."""

    def one(x, v):
        return control(x, v), jax.jacrev(control, argnums=1)(x, v)

    return response(control, stage), *jax.vmap(one)(stage.x, stage.v)


@pytest.mark.parametrize("in_a_box", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "leaky-relu"])
@pytest.mark.parametrize("widths", [(), (7,), (5, 6), (4, 5, 6)])
@pytest.mark.parametrize(("d_x", "d"), [(1, 1), (1, 3), (2, 2)])
def test_the_jacobian_of_a_network(d_x, d, widths, activation, in_a_box, double):
    """u and ∇ᵥu of all particles at once, against automatic differentiation of one."""
    network = kjko.MLP(d, widths, activation, 2 * d_x if in_a_box else d_x, key=jax.random.key(d))
    last = jax.random.normal(jax.random.key(1), network.layers[-1].weight.shape)
    network = eqx.tree_at(lambda u: u.layers[-1].weight, network, last)
    control = kjko.Periodic(network, LENGTH[:d_x]) if in_a_box else network
    stage = stage_of(d)
    stage = eqx.tree_at(lambda s: s.x, stage, stage.x[:, :d_x])

    by, u, expected = at_once_and_one_by_one(control, stage)

    np.testing.assert_allclose(by.u, u, atol=1e-13)
    np.testing.assert_allclose(by.matrix, expected, atol=1e-13)
    np.testing.assert_allclose(by.divergence, np.trace(expected, axis1=1, axis2=2), atol=1e-13)


@pytest.mark.parametrize("activation", ["tanh", "leaky-relu"])
def test_the_jacobian_of_a_network_can_be_fitted(activation, double):
    """The gradient of log|det(I + ∇ᵥu)| in the network's numbers."""
    network = kjko.MLP(3, (5, 6), activation, key=jax.random.key(0))
    last = jax.random.normal(jax.random.key(1), network.layers[-1].weight.shape)
    network = eqx.tree_at(lambda u: u.layers[-1].weight, network, last)
    stage = stage_of(3)

    def ours(network):
        return jnp.sum(jnp.log(jnp.abs(determinant(response(network, stage).matrix, 1.0))))

    def plain(network):
        matrix = jax.vmap(jax.jacfwd(network, argnums=1))(stage.x, stage.v)
        return jnp.sum(jnp.linalg.slogdet(jnp.eye(3)[None] + matrix)[1])

    found, expected = (eqx.filter_jit(jax.grad(of))(network) for of in (ours, plain))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("activation", ["tanh", "leaky-relu"])
def test_fresh_controls_are_zero(activation, d):
    stage = stage_of(d)
    mlp = kjko.MLP(d, (8, 8), activation, key=jax.random.key(0))
    assert any(jnp.abs(layer.weight).max() > 0 for layer in mlp.layers)
    for control in (mlp, kjko.Affine(d), Gradient(basis_of(Splines, d, False))):
        u = jax.jit(jax.vmap(control))(stage.x, stage.v)
        np.testing.assert_array_equal(u, np.zeros((30, d)))


def test_an_mlp_has_the_widths_asked_for():
    control = kjko.MLP(2, [5, 3, 7], inputs=4, key=jax.random.key(0))
    assert [layer.weight.shape for layer in control.layers] == [(5, 6), (3, 5), (7, 3), (2, 7)]
    assert [layer.bias.shape for layer in control.layers] == [(5,), (3,), (7,), (2,)]
    assert kjko.MLP(2, (), key=jax.random.key(0)).layers[0].weight.shape == (2, 4)


def test_affine(double):
    control = random_leaves(kjko.Affine(2, 3))
    x, v = np.array([0.1, 0.2, 0.3]), np.array([-1.0, 2.0])
    w, b = np.asarray(control.weight), np.asarray(control.bias)
    expected = w[:, :3] @ x + w[:, 3:] @ v + b
    np.testing.assert_allclose(control(jnp.asarray(x), jnp.asarray(v)), expected)


class Friction(eqx.Module):
    """A control of a user's own."""

    rate: jax.Array
    name: str = "mine"

    def __call__(self, x, v):
        return -self.rate * v + 0 * x


@pytest.mark.parametrize(
    ("make", "rate"),
    [
        (lambda: Friction(jnp.zeros(())), lambda u: u.rate),
        (lambda: jax.tree_util.Partial(lambda rate, x, v: -rate * v, jnp.zeros(())), None),
    ],
    ids=["module", "partial"],
)
def test_a_control_of_ones_own(make, rate):
    """Any pytree that is a function of one particle is fitted; what is no number stays."""
    problem = asymmetric_problem(2)
    fit = kjko.Adam(steps=2, held_out=0.0, schedule="constant", learning_rate=0.1)
    method = kjko.JKO(make(), fit)
    state = method.init(problem, kjko.sample(problem.law, 50), 0.1)
    state, info = take_step(problem, method, state)
    assert type(state.memory.control) is type(method.control)
    fitted = rate(state.memory.control) if rate else state.memory.control.args[0]
    assert 0.1 < float(jnp.abs(fitted)) < 0.21  # two steps of 0.1, and not where it began
    assert float(info.det_min) > 0
