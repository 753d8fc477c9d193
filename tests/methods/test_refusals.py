"""What is refused when an object is made or a run begins, and the line that says why."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import asymmetric_problem, free

import kjko

KEY = jax.random.key(0)
ADAM = kjko.Adam(steps=2)


def sample_of(d):
    return kjko.sample(asymmetric_problem(d).law, 20)


@pytest.mark.parametrize(
    ("x", "v", "log_f"),
    [
        ((5,), (5,), (5,)),
        ((5,), (5, 1), (5,)),
        ((5, 1), (5, 1), (5, 1)),
        ((5, 1), (3, 1), (5,)),
        ((5, 1), (5, 1), (3,)),
        ((5, 2), (5, 1), (5,)),
        ((5, 0), (5, 1), (5,)),
        ((0, 1), (0, 1), (0,)),
    ],
)
def test_particles_of_other_shapes(x, v, log_f):
    with pytest.raises(ValueError, match=r"^particles: expected x \(n, d_x\), .*is x\[:, None\]$"):
        kjko.Particles(np.zeros(x), np.zeros(v), np.zeros(log_f))


def test_particles_are_real_numbers():
    """Whole ones would make a time step of zero."""
    with pytest.raises(ValueError, match="^particles: expected real numbers, got int"):
        kjko.Particles(np.zeros((5, 1), int), np.zeros((5, 1)), np.zeros(5))
    assert kjko.Particles([[1.0]], [[2.0]], [0.5]).v.shape == (1, 1)


CONTROLS = {
    "affine": kjko.Affine,
    "network": lambda d: kjko.MLP(d, (4,), key=KEY),
    "wide network": lambda d: kjko.MLP(3 - d, (4,), outputs=d, key=KEY),
    "splines": lambda d: kjko.Gradient(kjko.Splines(d, (6, 3))),
    "fourier-hermite": lambda d: kjko.Gradient(kjko.FourierHermite(d, 20)),
    "random-tanh": lambda d: kjko.Gradient(kjko.RandomTanh(d, 9, key=KEY)),
    "quadratics": lambda d: kjko.Gradient(kjko.Quadratics(d)),
}


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("make", CONTROLS.values(), ids=CONTROLS)
def test_a_control_for_another_dimension(make, d):
    """Before a step is compiled, for all kinds, also where shapes of one would be repeated."""
    control, particles = make(3 - d), sample_of(d)
    fit = kjko.Newton() if isinstance(control, kjko.Gradient) else ADAM
    methods = [kjko.JKO(control, fit)]
    if fit is ADAM:
        methods.append(kjko.Score(control, fit))
    for method in methods:
        with pytest.raises(ValueError, match="^control: (cannot be called with x|expected u)"):
            method.init(asymmetric_problem(d), particles, 0.1)


@pytest.mark.parametrize("control", [kjko.AffineInTime(1, 1.0), lambda t, x, v: v, None])
def test_a_control_of_time_where_there_is_none(control):
    method = kjko.JKO(control, ADAM)
    with pytest.raises(ValueError, match="^control: cannot be called with x of shape .1,. and"):
        method.init(asymmetric_problem(1), sample_of(1), 0.1)


@pytest.mark.parametrize("kind", [kjko.ScoreEndToEnd, kjko.VelocityMatching])
@pytest.mark.parametrize("d", [1, 2])
def test_a_control_of_time_for_another_dimension(kind, d):
    number = (3 - d) * (2 if kind is kjko.VelocityMatching else 1)
    method = kind(kjko.AffineInTime(3 - d, 1.0, outputs=number), ADAM)
    with pytest.raises(ValueError, match=f"^control: {kind.__name__} needs one of .* x of shape"):
        method.init(asymmetric_problem(d), sample_of(d), 0.1)


METHODS = (
    kjko.JKO(kjko.Affine(1), ADAM),
    kjko.JKO(kjko.Affine(1), ADAM, kjko.Unsplit()),
    kjko.Score(kjko.Affine(1), ADAM),
    kjko.ScoreEndToEnd(kjko.AffineInTime(1, 1.0), ADAM),
    kjko.VelocityMatching(kjko.AffineInTime(1, 1.0, outputs=2), ADAM),
    kjko.Langevin(),
)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_a_potential_that_gives_no_number(method):
    """But one for each coordinate; alone, in a sum and in a box."""
    alone = kjko.External(lambda x: jnp.sin(2 * jnp.pi * x))
    with_none = kjko.Sum(alone, kjko.External(free))
    for flow, box in ((alone, None), (with_none, None), (alone, kjko.Box([1.0]))):
        problem = kjko.Problem(flow, box=box)
        with pytest.raises(ValueError, match="^potential: expected one number for a particle of"):
            method.init(problem, sample_of(1), 0.1)


@pytest.mark.parametrize(
    ("potential", "d"),
    [
        (kjko.Quadratic(np.eye(2), np.zeros(2)), 1),
        (kjko.Quadratic(np.eye(1), np.zeros(1)), 2),
        (kjko.Sine([1.0, 1.0]), 1),
        (kjko.Cosine([1.0, 1.0]), 1),
    ],
)
def test_a_potential_of_another_dimension(potential, d):
    """One coordinate would else be taken for two."""
    with pytest.raises(ValueError, match=r"^potential: this \w+ is of x of shape \("):
        kjko.Langevin().init(kjko.Problem(kjko.External(potential)), sample_of(d), 0.1)


def test_a_control_that_needs_another_fit():
    """When the method is made."""
    network, splines = kjko.MLP(1, (4,), key=KEY), kjko.Gradient(kjko.Splines(1))
    with pytest.raises(ValueError, match="^fit: Newton fits a control that is linear.*use Adam$"):
        kjko.JKO(network)
    with pytest.raises(ValueError, match="^fit: Adam fits every number of a .*; use Newton$"):
        kjko.JKO(splines, ADAM)
    with pytest.raises(ValueError, match="^fit: Adam fits every number of a .*; use Newton$"):
        kjko.Score(splines)
    for kind in (kjko.ScoreEndToEnd, kjko.VelocityMatching):
        with pytest.raises(ValueError, match=f"^fit: {kind.__name__} is trained by Adam, got Newt"):
            kind(kjko.AffineInTime(1, 1.0), kjko.Newton())


@pytest.mark.parametrize("splitting", [kjko.SymplecticEuler(), kjko.Unsplit()], ids=repr)
def test_flows_that_a_splitting_does_not_know(splitting):
    plane = kjko.Particles(np.zeros((5, 1)), np.ones((5, 2)), np.zeros(5))
    magnetic = kjko.Sum(kjko.External(free), kjko.Magnetic([0.0, 0.0, 1.0]))
    flows = {"knows no magnetic field": magnetic, "with a potential": kjko.Uniform([1.0])}
    control = kjko.Affine(2, 1)
    methods = [kjko.JKO(control, ADAM, splitting), kjko.Score(control, ADAM, splitting)]
    in_time = kjko.AffineInTime(2, 1.0, inputs=1)
    methods.append(kjko.ScoreEndToEnd(in_time, ADAM, splitting))
    for reason, flow in flows.items():
        for method in methods:
            with pytest.raises(ValueError, match=f"^splitting: .*{reason}; take StrangMidpoint"):
                method.init(kjko.Problem(flow), plane, 0.1)
    with pytest.raises(ValueError, match="^splitting: Langevin needs one after the flow"):
        kjko.Langevin(splitting)


def test_collisions_that_a_method_cannot_learn():
    flow, particles = kjko.External(free), sample_of(1)
    score, velocity = METHODS[3:5]
    for method in (score, velocity):
        with pytest.raises(ValueError, match="^collisions: .* nothing to learn.*; use Langevin"):
            method.init(kjko.Problem(flow, kjko.NoCollisions()), particles, 0.1)
    with pytest.raises(ValueError, match="^collisions: .*a bath with a temp.*; use ScoreEndToEnd"):
        velocity.init(kjko.Problem(flow, kjko.Dougherty()), particles, 0.1)
    assert score.init(kjko.Problem(flow, kjko.Dougherty()), particles, 0.1).step == 0


def test_a_box_of_another_dimension():
    problem = kjko.Problem(kjko.External(free), box=kjko.Box([1.0, 2.0]))
    with pytest.raises(ValueError, match="^particles: expected 2 positions, as the box has sides"):
        kjko.Langevin().init(problem, sample_of(1), 0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: kjko.JKO(kjko.Affine(1), ADAM, log_det="exat"), "^log_det: expected 'exact' or"),
        (lambda: kjko.Adam(schedule="cosin"), "^schedule: expected 'constant' or 'cosine', got"),
        (lambda: kjko.GaussNewton(layers="first"), "^layers: expected 'all' or 'last', got"),
        (lambda: kjko.MLP(1, (4,), "relu", key=KEY), "^activation: expected 'tanh' or 'leaky-relu"),
    ],
)
def test_words_that_mean_nothing(make, message):
    with pytest.raises(ValueError, match=message):
        make()
