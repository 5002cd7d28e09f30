"""Channel expressions: grammar, guards, windows equal the whole, principal components."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from meteoseg.errors import ChannelError, ShapeMismatchError
from meteoseg.expressions import parse_expression
from meteoseg.grid import Window
from meteoseg.section import Section

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
EXPRESSIONS = st.recursive(
    st.sampled_from(["Fe", "Mg", "BSE", "2", "0.5", "1e-7"]),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*/"), inner),
        st.builds("{} {} {}".format, inner, st.sampled_from("+-*/"), inner),
        st.builds("-{}".format, inner),
        st.builds("{}({})".format, st.sampled_from(["log1p", "sqrt"]), inner),
        st.builds("gaussian({}, {})".format, inner, st.sampled_from(["0.4", "1", "1.7"])),
        st.builds("gradient({}, {})".format, inner, st.sampled_from(["0.3", "1.2"])),
        st.builds("gradient({})".format, inner),
    ),
    max_leaves=6,
).filter(lambda text: any(name in text for name in ("Fe", "Mg", "BSE")))


def maps(shape: tuple[int, int] = (5, 8), seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.poisson(20, shape).astype(np.float32) for name in ("Fe", "Mg", "BSE")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fe + Mg * 2", 14.0),
        ("(Fe + Mg) * 2", 22.0),
        ("Fe - Mg - 1", 4.0),
        ("Fe - (Mg - 1)", 6.0),
        ("Fe / Mg / 2", 4 / 3),
        ("Fe / (Mg / 2)", 8 / 1.5),
        ("-Fe * -Mg", 24.0),
        ("2e-1*Fe + .5", 2.1),
        ("1 - -Fe", 9.0),
        ("log1p(Fe)", np.log(9)),
        ("sqrt(Fe * 2)", 4.0),
        ("sqrt(-Fe)", 0.0),
        ("log1p(Mg - Fe)", 0.0),
        ("gradient(Fe)", 0.0),
        ("gaussian(Fe, 2) + gaussian(1, 1)", 9.0),
    ],
)
def test_arithmetic_follows_the_usual_precedence(text, expected):
    values = {"Fe": np.full((2, 3), 8.0), "Mg": np.full((2, 3), 3.0)}
    result = parse_expression(text).evaluate(values)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, np.full((2, 3), expected), rtol=1e-6, atol=1e-6)


def test_aliases_become_channel_names_and_whitespace_is_free():
    expression = parse_expression("  Pho/\n( Sul+bse )")
    assert expression.channels == ("P", "S", "BSE")
    assert expression.text == "Pho/ ( Sul+bse )"
    assert expression.formula == "P / (S + BSE)"


def test_quotient_is_zero_where_the_denominator_is_small():
    expression = parse_expression("Mg / (Mg + Fe)")
    magnesium = np.array([[0, 3, -1, 5e-7]], np.float32)
    iron = np.array([[0, 1, 1, 0]], np.float32)
    assert expression.evaluate({"Mg": magnesium, "Fe": iron}).tolist() == [[0.0, 0.75, 0.0, 0.0]]


def test_gaps_count_as_zero():
    values = {"Fe": np.array([[np.nan, np.inf, -np.inf, 2]])}
    assert parse_expression("Fe + 1").evaluate(values).tolist() == [[1.0, 1.0, 1.0, 3.0]]


def test_a_plain_channel_is_copied():
    iron = np.ones((2, 3), np.float32)
    parse_expression("Fe").evaluate({"Fe": iron})[0, 0] = 9
    assert iron[0, 0] == 1


def test_gaussian_spreads_one_count_and_keeps_the_sum():
    point = np.zeros((21, 25), np.float32)
    point[10, 12] = 1
    spread = parse_expression("gaussian(Fe, 1.5)").evaluate({"Fe": point})
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert spread[10, 12] == pytest.approx(1 / (2 * np.pi * 1.5**2), rel=0.01)


def test_gradient_of_a_ramp_is_its_slope():
    rows, cols = np.mgrid[:30, :40].astype(np.float32)
    slope = parse_expression("gradient(Fe, 1)").evaluate({"Fe": 3 * rows + 4 * cols})
    np.testing.assert_allclose(slope[8:-8, 8:-8], 5, rtol=1e-4)


@pytest.mark.parametrize(
    ("text", "halo_px"),
    [
        ("Fe / Mg", 0),
        ("gaussian(Fe, 2)", 8),
        ("gaussian(Fe, 1.1)", 5),
        ("gradient(Fe)", 5),
        ("gradient(gaussian(Fe, 2), 1.5)", 15),
        ("gaussian(Fe, 2) + gradient(Mg, 0.5)", 8),
    ],
)
def test_halo_adds_up_along_nesting(text, halo_px):
    assert parse_expression(text).halo_px == halo_px


@settings(max_examples=150, deadline=None)
@given(text=EXPRESSIONS, window=st.tuples(*[st.integers(0, 14)] * 2, *[st.integers(1, 9)] * 2))
def test_window_by_window_equals_whole(text, window):
    section = Section.from_arrays("A", maps((24, 31)))
    stack = section.select([text])
    part = Window(*window)
    np.testing.assert_allclose(
        stack.read(part),
        stack.read()[(slice(None), *part.slices)],
        rtol=1e-5,
        atol=1e-6 * np.abs(stack.read()).max(),
    )


@settings(max_examples=150, deadline=None)
@given(text=EXPRESSIONS, values=arrays(np.float32, (3, 2, 3), elements=FINITE))
def test_finite_input_gives_finite_output(text, values):
    result = parse_expression(text).evaluate(dict(zip(("Fe", "Mg", "BSE"), values, strict=True)))
    assert result.shape == (2, 3)
    assert np.isfinite(result).all()


@settings(max_examples=200, deadline=None)
@given(text=EXPRESSIONS)
def test_formula_is_a_fixed_spelling_of_the_same_values(text):
    expression = parse_expression(text)
    again = parse_expression(expression.formula)
    assert again.formula == expression.formula
    np.testing.assert_array_equal(again.evaluate(maps()), expression.evaluate(maps()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a channel, a number or .* but the text ends at position 1"),
        ("Mg / (Mg +", "the text ends at position 11"),
        ("(Fe", r"expected '\)' but the text ends"),
        ("Fe Mg", "unexpected 'Mg' at position 4"),
        ("fe", "unknown name 'fe' .did you mean 'Fe'.. at position 1"),
        ("Fe + Qq", "unknown name 'Qq' at position 6"),
        ("2 * 3", "names no channel"),
        ("Fe ** 2", "found '\\*' at position 5"),
        ("Fe.real", "cannot read '.' at position 3"),
        ("__import__('os')", "cannot read '_' at position 1"),
        ("eval(Fe)", "unknown name 'eval'"),
        ("gaussian(Fe)", "expected ',' but found '\\)'"),
        ("gaussian(Fe, 0)", "sigma_px is 0, allowed is more than 0 up to 100"),
        ("gaussian(Fe, Mg)", "expected a number here, not 'Mg'"),
        ("gradient(Fe, 101)", "sigma_px is 101"),
        ("1e99 * Fe", "beyond the float32 range"),
        ("pc(1, Fe)", "at least two channels"),
        ("pc(3, Fe, Mg)", "pc number 3 of 2 channels, allowed is 1 to 2"),
        ("pc(1.5, Fe, Mg)", "pc number 1.5"),
        ("pc(1, Fe, gaussian(Mg, 1))", "pointwise terms only"),
        ("pc(1, Fe, pc(1, Fe, Mg))", "pointwise terms only"),
        ("(" * 40 + "Fe" + ")" * 40, "more than 32 levels"),
        ("-" * 40 + "Fe", "more than 32 levels"),
        ("+".join(["K"] * 200), "399 tokens"),
        ("K" * 1001, "1001 characters"),
        ("gaussian(" * 4 + "Fe" + ", 100)" * 4, "reach 1600 px"),
        (3, "is text such as"),
    ],
)
def test_bad_text_is_refused_on_one_line(text, message):
    with pytest.raises(ChannelError, match=message) as caught:
        parse_expression(text)
    assert "\n" not in str(caught.value)


def test_the_longest_chain_allowed_evaluates():
    chain = parse_expression("+".join(["K"] * 150))
    assert chain.evaluate({"K": np.ones((1, 2))}).tolist() == [[150.0, 150.0]]


def test_missing_channel_and_unequal_shapes_are_refused():
    expression = parse_expression("Fe + Mg")
    with pytest.raises(ChannelError, match=r"needs 'Mg' \(given: Fe\)"):
        expression.evaluate({"Fe": np.ones((2, 3))})
    with pytest.raises(ShapeMismatchError, match="differ in shape"):
        expression.evaluate({"Fe": np.ones((2, 3)), "Mg": np.ones((3, 2))})


def correlated_sample(n: int = 4000) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    common = rng.normal(size=n)
    return {
        "Fe": 100 - 30 * common + rng.normal(size=n),
        "Mg": 5 + 2 * common + 0.1 * rng.normal(size=n),
        "Si": 50 + rng.normal(size=n),
    }


def test_first_component_is_the_common_signal():
    sample = correlated_sample()
    fitted = parse_expression("pc(1, Mg, Fe, Si)").fitted(sample)
    first = fitted.evaluate({name: values[None] for name, values in sample.items()})[0]
    assert abs(np.corrcoef(first, sample["Mg"])[0, 1]) > 0.99
    assert first.mean() == pytest.approx(0, abs=1e-3)
    assert first.std() == pytest.approx(np.sqrt(2), rel=0.01)


def test_components_match_the_singular_value_decomposition():
    sample = correlated_sample()
    table = np.stack(list(sample.values()), axis=1)
    standard = (table - table.mean(0)) / table.std(0)
    loadings = np.linalg.svd(standard, full_matrices=False)[2]
    for index, loading in enumerate(loadings, start=1):
        fitted = parse_expression(f"pc({index}, Fe, Mg, Si)").fitted(sample)
        score = fitted.evaluate({name: values[None] for name, values in sample.items()})[0]
        expected = standard @ loading
        np.testing.assert_allclose(score * np.sign(score @ expected), expected, atol=2e-4)


def test_sign_makes_the_largest_loading_positive_and_the_first_of_equals():
    rng = np.random.default_rng(4)
    iron = rng.normal(size=300)
    for names in ("Fe, Mg", "Mg, Fe"):
        formula = parse_expression(f"pc(1, {names})").fitted({"Fe": iron, "Mg": -iron}).formula
        assert not formula.startswith("-")


def test_unfitted_component_is_refused_and_a_fitted_one_survives_as_text():
    expression = parse_expression("2 * pc(1, Fe, log1p(Mg))")
    assert expression.needs_fit
    assert expression.channels == ("Fe", "Mg")
    with pytest.raises(ChannelError, match="not fitted yet"):
        expression.evaluate(maps())
    fitted = expression.fitted({name: values.ravel() for name, values in maps().items()})
    assert not fitted.needs_fit
    assert fitted.text == expression.text
    stored = parse_expression(fitted.formula)
    np.testing.assert_array_equal(stored.evaluate(maps()), fitted.evaluate(maps()))


def test_fit_leaves_out_gaps_and_gives_a_constant_channel_no_weight():
    sample = correlated_sample() | {"Ca": np.full(4000, 7.0)}
    holed = {name: np.append(values, np.nan) for name, values in sample.items()}
    expression = parse_expression("pc(1, Fe, Mg, Ca)")
    assert expression.fitted(holed).formula == expression.fitted(sample).formula
    assert " 0 * Ca" in expression.fitted(sample).formula.replace("-0 *", "0 *")


def test_fit_without_pixels_is_refused():
    with pytest.raises(ChannelError, match="fewer than two pixels are finite"):
        parse_expression("pc(1, Fe, Mg)").fitted({"Fe": np.full(5, np.nan), "Mg": np.ones(5)})
