"""Formulas as text: + − * / **, a few functions, pi and named variables; nothing else is run.

formula = parse("(x1**2 - 1)**2 + 0.5*x2**2", ("x1", "x2"))
formula.value({"x1": 0.3, "x2": 1.0}, numpy)
"""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

LONGEST = 1000  # characters
FUNCTIONS = ("sin", "cos", "exp", "log", "sqrt", "tanh", "abs")
BINARY: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
UNARY: dict[type, Callable[..., Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


class Formula(NamedTuple):
    """A formula that has been read."""

    text: str
    tree: ast.expr

    def value(self, variables: Mapping[str, Any], functions: Any) -> Any:
        """Its value; `functions`: a module with sin, cos, … and pi, as numpy or jax.numpy."""
        return _value(self.tree, variables, functions)


def parse(text: str, names: Sequence[str] = ()) -> Formula:
    """Read a formula of the variables `names`. Raises ValueError for anything else."""
    if len(text) > LONGEST:
        raise ValueError(f"expected a formula of at most {LONGEST} characters, got {len(text)}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        _check(tree, names)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError("expected a formula, as 0.5*x1**2, got something else") from None
    formula = Formula(text, tree)
    _try_out(formula, names)
    return formula


def _try_out(formula: Formula, names: Sequence[str]) -> None:
    """Numbers that overflow, are divided by zero or become complex are so at any place."""
    try:
        with np.errstate(all="ignore"):
            value = formula.value(dict.fromkeys(names, np.float64(0.5)), np)
    except (ArithmeticError, RecursionError):
        raise ValueError("expected finite numbers in a formula, got one out of range") from None
    if np.iscomplexobj(value):
        raise ValueError("expected real numbers in a formula, got the root of a negative one")


def _check(node: ast.AST, names: Sequence[str]) -> None:
    if isinstance(node, ast.BinOp) and type(node.op) in BINARY:
        _check(node.left, names)
        _check(node.right, names)
    elif isinstance(node, ast.UnaryOp) and type(node.op) in UNARY:
        _check(node.operand, names)
    elif isinstance(node, ast.Call):
        _check_call(node, names)
    elif isinstance(node, ast.Name):
        if node.id != "pi" and node.id not in names:
            known = ", ".join((*names, "pi"))
            raise ValueError(f"unknown name {node.id!r} in a formula; expected some of {known}")
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
        raise ValueError("expected + - * / ** in a formula, got ^; write ** for a power")
    elif not (isinstance(node, ast.Constant) and type(node.value) in (int, float)):
        raise ValueError("expected + - * / ** and functions of numbers and names in a formula")


def _check_call(node: ast.Call, names: Sequence[str]) -> None:
    known = isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS
    if not known or len(node.args) != 1 or node.keywords:
        listed = ", ".join(FUNCTIONS)
        raise ValueError(f"expected a function of one argument in a formula, one of {listed}")
    _check(node.args[0], names)


def _value(node: ast.AST, variables: Mapping[str, Any], functions: Any) -> Any:
    if isinstance(node, ast.BinOp):
        left, right = (_value(n, variables, functions) for n in (node.left, node.right))
        if isinstance(node.op, ast.Pow) and isinstance(right, float) and right.is_integer():
            right = int(right) if abs(right) < 100 else right  # exact, and real below zero
        return BINARY[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp):
        return UNARY[type(node.op)](_value(node.operand, variables, functions))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return getattr(functions, node.func.id)(_value(node.args[0], variables, functions))
    if isinstance(node, ast.Name):
        return functions.pi if node.id == "pi" else variables[node.id]
    return float(ast.literal_eval(node))  # never whole: 9**9**9 overflows at once
