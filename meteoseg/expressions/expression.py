"""Channel expressions such as ``Mg / (Mg + Fe)``: parsed without `eval`, evaluated window by window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import ChannelError, ShapeMismatchError
from meteoseg.expressions import syntax
from meteoseg.expressions.syntax import Binary, Call, Component, Name, Negate, Node, Number

FloatArray = NDArray[np.float32]

#: A quotient is 0 where the magnitude of its denominator lies below this.
MIN_DENOMINATOR = 1e-6
MAX_HALO_PX = 1024

_LARGEST = np.finfo(np.float32).max


@dataclass(frozen=True)
class Expression:
    """A parsed channel expression; make one with `parse_expression`.

    `text` is the expression as written (runs of whitespace made single). Expressions with equal `formula`
    give equal values, however they were typed.
    """

    text: str
    root: Node

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels used, in order of first use."""
        names = (node.channel for node in syntax.walk(self.root) if isinstance(node, Name))
        return tuple(dict.fromkeys(names))

    @property
    def halo_px(self) -> int:
        """Pixels around a window that its values depend on: 4 sigma (+ 1 for a gradient), nested ones add."""
        return syntax.halo_px(self.root)

    @property
    def needs_fit(self) -> bool:
        """Whether a principal component still has to be fitted (see `fitted`)."""
        return any(isinstance(node, Component) for node in syntax.walk(self.root))

    @property
    def formula(self) -> str:
        """The expression in one canonical spelling; fitted components are written out as weighted sums.

        Parsing the formula gives the same values, so a model card can store a fitted component as text.
        """
        return syntax.written(self.root)

    def fitted(self, sample: Mapping[str, NDArray[Any]]) -> Expression:
        """Fit the principal components to a sample of pixels; return the expression ready to be evaluated.

        Each operand is standardised (mean, standard deviation; a constant one gets weight 0). Components are
        the eigenvectors of the correlation matrix by falling eigenvalue (Jolliffe 2002, doi:10.1007/b98835),
        signed so that the loading of largest magnitude is positive. Pixels that are not finite are left out.

        Parameters
        ----------
        sample : (N,) arrays of the same pixels by channel name.

        Raises
        ------
        ChannelError : a channel is missing from the sample, or fewer than two pixels are finite.

        Examples
        --------
        >>> sample = {"Fe": np.array([1, 3]), "Mg": np.array([5, 1])}
        >>> fitted = parse_expression("pc(1, Fe, Mg)").fitted(sample)
        >>> fitted.text, fitted.formula
        ('pc(1, Fe, Mg)', '0.707106769 * Fe + -0.353553385 * Mg + -0.353553385')
        """
        if not self.needs_fit:
            return self
        self._require(sample)
        columns = {name: np.asarray(sample[name], np.float32).ravel() for name in self.channels}
        keep = np.logical_and.reduce([np.isfinite(column) for column in columns.values()])
        if np.count_nonzero(keep) < 2:
            raise ChannelError(f"Cannot fit '{self.text}': fewer than two pixels are finite in all its channels.")
        return Expression(self.text, _with_fits(self.root, {name: col[keep] for name, col in columns.items()}))

    def evaluate(self, values: Mapping[str, NDArray[Any]]) -> FloatArray:
        """Evaluate on channel arrays (H, W) of one shape; returns a new float32 (H, W), always finite.

        Non-finite input pixels count as 0. A quotient is 0 where its denominator is smaller than 1e-6 in
        magnitude; ``sqrt`` and ``log1p`` take negative values as 0; results beyond the float32 range are cut
        to it. Filters continue the border pixel outwards.

        Raises
        ------
        ChannelError : a channel is missing, or a principal component was not fitted.
        ShapeMismatchError : the arrays differ in shape.

        Examples
        --------
        >>> ratio = parse_expression("Mg / (Mg + Fe)")
        >>> ratio.evaluate({"Mg": np.array([[3.0, 0.0]]), "Fe": np.array([[1.0, 0.0]])}).tolist()
        [[0.75, 0.0]]
        """
        self._require(values)
        shapes = {name: np.shape(values[name]) for name in self.channels}
        if len(set(shapes.values())) > 1:
            raise ShapeMismatchError(f"Channels of '{self.text}' differ in shape: {shapes}. Give one shape to all.")
        clean = {name: _without_gaps(values[name]) for name in self.channels}
        result = _evaluate(self.root, clean, next(iter(shapes.values())))
        return result.copy() if isinstance(self.root, Name) else result

    def _require(self, values: Mapping[str, Any]) -> None:
        for name in self.channels:
            if name not in values:
                given = ", ".join(sorted(values)) or "none"
                raise ChannelError(f"Channel expression '{self.text}' needs '{name}' (given: {given}).")


def parse_expression(text: str) -> Expression:
    """Parse a channel expression; nothing is executed.

    Raises
    ------
    ChannelError : a syntax error, an unknown channel or function, no channel at all, or an expression too
        large (1000 characters, 300 tokens, 32 levels of brackets, sigma 100 px, filters reaching 1024 px).

    Examples
    --------
    >>> expression = parse_expression("gaussian(Sul, 2)/BSE")
    >>> expression.channels, expression.halo_px, expression.formula
    (('S', 'BSE'), 8, 'gaussian(S, 2) / BSE')
    """
    if not isinstance(text, str):
        raise ChannelError(f"A channel expression is text such as 'Mg / (Mg + Fe)', not {type(text).__name__}.")
    single_spaced = " ".join(text.split())
    expression = Expression(single_spaced, syntax.parse(single_spaced))
    if not expression.channels:
        raise ChannelError(f"Channel expression '{single_spaced}' names no channel: use BSE or symbols such as Fe.")
    if expression.halo_px > MAX_HALO_PX:
        raise ChannelError(f"Filters of '{single_spaced}' reach {expression.halo_px} px: at most {MAX_HALO_PX}.")
    return expression


def _without_gaps(values: NDArray[Any]) -> FloatArray:
    with np.errstate(over="ignore"):
        array = np.asarray(values, np.float32)
    finite = np.isfinite(array)
    return array if finite.all() else np.where(finite, array, np.float32(0))


def _evaluate(node: Node, values: Mapping[str, FloatArray], shape: tuple[int, ...]) -> FloatArray:
    """Evaluate on finite arrays; every result is finite again and `values` is never written to."""
    match node:
        case Number():
            return np.broadcast_to(np.float32(node.value), shape)
        case Name():
            return values[node.channel]
        case Negate():
            return -_evaluate(node.operand, values, shape)
        case Binary():
            left, right = (_evaluate(operand, values, shape) for operand in (node.left, node.right))
            return _combine(node.op, left, right)
        case Call():
            return _apply(node.function, _evaluate(node.operand, values, shape), node.sigma_px)
        case Component():
            raise ChannelError(f"'{syntax.written(node)}' is not fitted yet: call fitted(sample) first.")
    assert_never(node)


def _combine(op: str, left: FloatArray, right: FloatArray) -> FloatArray:
    out = np.zeros(left.shape, np.float32)
    with np.errstate(over="ignore"):
        if op == "+":
            np.add(left, right, out=out)
        elif op == "-":
            np.subtract(left, right, out=out)
        elif op == "*":
            np.multiply(left, right, out=out)
        else:
            np.divide(left, right, out=out, where=np.abs(right) >= np.float32(MIN_DENOMINATOR))
    return np.clip(out, -_LARGEST, _LARGEST, out=out)


def _apply(function: str, values: FloatArray, sigma_px: float) -> FloatArray:
    if function in ("log1p", "sqrt"):
        positive = np.maximum(values, np.float32(0))
        return np.log1p(positive) if function == "log1p" else np.sqrt(positive)
    # Imported here: it takes longer than all else that `import meteoseg` needs.
    from scipy import ndimage

    smooth = np.empty(values.shape, np.float32)
    ndimage.gaussian_filter(values, sigma_px, output=smooth, mode="nearest", truncate=syntax.TRUNCATE)
    np.clip(smooth, -_LARGEST, _LARGEST, out=smooth)
    if function == "gaussian":
        return smooth
    down, right = (ndimage.correlate1d(smooth, [-0.5, 0.0, 0.5], axis, mode="nearest") for axis in (0, 1))
    slope = np.empty(values.shape, np.float32)
    with np.errstate(over="ignore"):
        np.hypot(down, right, out=slope)
    return np.minimum(slope, _LARGEST, out=slope)


def _with_fits(node: Node, sample: Mapping[str, FloatArray]) -> Node:
    """Replace every component by the weighted sum that the sample gives."""
    match node:
        case Number() | Name():
            return node
        case Negate():
            return Negate(_with_fits(node.operand, sample))
        case Binary():
            return Binary(node.op, _with_fits(node.left, sample), _with_fits(node.right, sample))
        case Call():
            return Call(node.function, _with_fits(node.operand, sample), node.sigma_px)
        case Component():
            return _weighted_sum(node, sample)
    assert_never(node)


def _weighted_sum(component: Component, sample: Mapping[str, FloatArray]) -> Node:
    shape = next(iter(sample.values())).shape
    columns = [_evaluate(operand, sample, shape) for operand in component.operands]
    table = np.stack(columns, axis=1).astype(np.float64)
    mean, sd = table.mean(axis=0), table.std(axis=0)
    scale = np.divide(1.0, sd, out=np.zeros_like(sd), where=sd > 1e-7 * np.abs(mean))
    standard = (table - mean) * scale
    vectors = np.linalg.eigh(standard.T @ standard / len(table))[1]
    loading = vectors[:, -component.index]
    # Rounded, so that of two equally large loadings the first one decides and not the last bit.
    loading = loading * np.sign(loading[np.argmax(np.round(np.abs(loading), 6))])
    weights = loading * scale
    terms = [Binary("*", _constant(w), operand) for w, operand in zip(weights, component.operands, strict=True)]
    total: Node = terms[0]
    for term in terms[1:]:
        total = Binary("+", total, term)
    return Binary("+", total, _constant(-float(weights @ mean)))


def _constant(value: float) -> Number:
    """Round to float32, which nine significant digits spell exactly."""
    return Number(float(np.float32(value)))
