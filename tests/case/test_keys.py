"""The list of keys, against the schema that pydantic makes of a case and against what is built."""

import pytest

import kjko
from kjko.case import load
from kjko.case.keys import find, keys
from kjko.case.read import Case

SCHEMA = Case.model_json_schema()


def leaves(node: dict, path: str = "", kind: str = "", usual=None):
    """(path, kind), default and whether it is required of every key that a case accepts."""
    node = SCHEMA["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    for member in [*node.get("anyOf", []), *node.get("oneOf", [])]:
        yield from leaves(member, path, kind, usual)
    if "items" in node:
        yield from leaves(node["items"], path, kind, usual)
    properties = node.get("properties", {})
    if "kind" in properties:
        kind = properties["kind"]["const"]
        yield (f"{path}kind", kind), (usual or {}).get("kind"), usual is None
    for name, inner in properties.items():
        if name != "kind":
            required, default = name in node.get("required", []), inner.get("default")
            plain = None if isinstance(default, dict) else default
            yield (f"{path}{name}", kind), plain, required
            yield from leaves(inner, f"{path}{name}.", kind, default)


def test_every_key_that_a_case_accepts_is_listed():
    listed = {(key.path, key.kind): (key.default, key.required) for key in keys()}
    expected = {key: (default, required) for key, default, required in leaves(SCHEMA)}
    assert len(expected) > 150 and ("solver.fit.warm_start", "adam") in expected
    assert listed == expected and len(keys()) == len(listed)


def test_each_is_described():
    assert [key for key in keys() if not key.description] == []
    (key,) = find("solver.time_step")
    assert (key.type, key.range, key.unit, key.required) == ("number", "> 0", "time", True)
    (cells,) = find("control.cells")
    assert cells.type == "list of whole numbers" and "< 2^31" in cells.range
    (seed,) = find("particles.seed")
    assert seed.range == ">= 0, < 2^32"


LIBRARY = {  # what the library makes where nothing is said, of each kind of fit
    "newton": kjko.Newton(),
    "levenberg-marquardt": kjko.LevenbergMarquardt(),
    "adam": kjko.Adam(),
}


@pytest.mark.parametrize("kind", LIBRARY)
def test_defaults_are_those_in_force(kind):
    case = load("multiwell-1d", ["solver.control.kind=mlp", f"solver.fit.kind={kind}"])
    listed = {k.path: k.default for k in keys() if k.path.startswith("solver.fit.")}
    own = {k.path: k.default for k in keys() if k.kind == kind and k.path in listed}
    own.pop("solver.fit.kind")
    assert own
    for path, default in own.items():
        name = path.rpartition(".")[2]
        assert default == getattr(case.solver.fit, name) == getattr(LIBRARY[kind], name)


def test_defaults_of_the_tables_are_those_in_force():
    case = load("gaussian-1d-paper").model_dump()
    for path, default in (("output.checkpoint_every", 10), ("problem.mass", 1.0)):
        (key,) = [key for key in keys() if key.path == path]
        table, name = path.split(".")
        assert key.default == case[table][name] == default


def test_a_text_finds_what_has_it_in_its_path_or_kind():
    assert {key.path for key in find("poisson")} == {
        f"problem.force.{name}" for name in ("kind", "number_of_cells", "shape", "laplacian")
    }
    assert {key.path for key in find("SEED")} == {"particles.seed"}
    assert find("no such key") == []
