"""XOR as a formula: what is printed is parsed back, the claims are checked by second means, wrong files are refused."""

from __future__ import annotations

import ast
import contextlib
import io
import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from lop.lab.xor_formula import __main__ as program
from lop.lab.xor_formula import linear, reading, stage_fold, stage_product, stage_tanh, train
from lop.lab.xor_formula.formula import formula, number, rounded, rounding_bound, total
from lop.lab.xor_formula.lesson import Lesson
from lop.lab.xor_formula.network import CORNERS, XOR, Network, right
from lop.lab.xor_formula.recorded import read_weights, write_weights
from lop.run.files import RunError

FUNCTIONS = {"tanh": math.tanh, "max": max, "sigmoid": lambda z: 1 / (1 + math.exp(-z))}
OR_AND = Network(np.array([[1.0, 1.0], [1.0, 1.0]]), np.array([-0.5, -1.5]), np.array([0.5, -0.5]), 0.0)


def value_of(text: str, names: dict[str, float]) -> float:
    """A printed formula's value, by walking its syntax tree: numbers, names, + - *, and the three functions, no more."""

    def walk(node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as value):
                return float(value)
            case ast.Name(id=name):
                return names[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -walk(operand)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return walk(left) + walk(right)
            case ast.BinOp(left=left, op=ast.Sub(), right=right):
                return walk(left) - walk(right)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return walk(left) * walk(right)
            case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]):
                return FUNCTIONS[function](*map(walk, arguments))
        raise ValueError(ast.dump(node))

    return walk(ast.parse(text.strip(), mode="eval").body)


def at_corners(lines: list[str]) -> np.ndarray:
    """The values at the four corners of a formula printed over several lines, "y = ..."."""
    text = " ".join(line.strip() for line in lines).removeprefix("y = ")
    return np.array([value_of(text, {"A1": a, "A2": b}) for a, b in CORNERS.tolist()])


def random_network(seed: int, units: int, activation: str, output: str) -> Network:
    rng = np.random.default_rng(seed)
    # numbers of all sizes and signs, so that exponents are printed too
    numbers = rng.standard_normal(4 * units + 1) * 10.0 ** rng.integers(-9, 2, 4 * units + 1)
    empty = Network(np.zeros((units, 2)), np.zeros(units), np.zeros(units), 0.0, activation, output)
    return empty.with_numbers(numbers)


# ---- the formula


@pytest.mark.parametrize("output", ["linear", "tanh", "sigmoid"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_parsed_formula_is_the_network_to_the_printed_precision(activation, output):
    for seed, units, digits in itertools.product(range(8), (1, 2, 5), (2, 6, 10)):
        network = random_network(seed, units, activation, output)
        lines = formula(network, digits)
        off = np.abs(at_corners(lines) - network(CORNERS)).max()
        assert off <= rounding_bound(network, digits, CORNERS)
        assert max(map(len, lines)) <= 95
        np.testing.assert_allclose(at_corners(lines), rounded(network, digits)(CORNERS), rtol=1e-12, atol=1e-13)


def test_the_bound_of_the_rounding_is_worked_by_hand():
    # 0.126 -> 0.13 inside: moves z by 0.004 at A1 = 1; outside 1.24 -> 1.2 moves 0.04 per tanh
    network = Network(np.array([[0.126, 0.0]]), np.array([0.0]), np.array([1.24]), 0.0)
    by_hand = 0.04 * math.tanh(0.126) + 0.004 * 1.2
    assert rounding_bound(network, 2, CORNERS) == pytest.approx(by_hand, abs=1e-12)
    assert formula(network, 2) == ["y = 1.2*tanh(0.13*A1 + 0*A2 + 0)", "  + 0"]


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.0, 6, "0"),
        (-0.0, 6, "0"),
        (1e-7, 6, "1e-07"),
        (-2.5e-300, 2, "-2.5e-300"),
        (1234567.0, 3, "1.23e+06"),
        (1.0, 6, "1"),
    ],
)
def test_a_number_is_printed_with_its_digits(value, digits, text):
    assert number(value, digits) == text


def test_signs_stand_between_the_terms():
    assert total([(-1.5, "A1"), (-2.0, "A2"), (0.25, "")], 6) == ["-1.5*A1", "- 2*A2", "+ 0.25"]
    assert total([(-0.0, "A1"), (0.0, "")], 6) == ["0*A1", "+ 0"]


# ---- training


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_gradient_is_autograds(activation):
    for seed in range(20):
        network = train.draw(np.random.default_rng(seed), activation)
        flat = torch.tensor(network.numbers, requires_grad=True)
        w, b, v, c = flat[:4].reshape(2, 2), flat[4:6], flat[6:8], flat[8]
        z = torch.from_numpy(CORNERS) @ w.T + b
        y = (torch.tanh(z) if activation == "tanh" else torch.relu(z)) @ v + c
        ((y - torch.from_numpy(XOR)) ** 2).mean().backward()
        np.testing.assert_allclose(train.gradient(network), flat.grad.numpy(), atol=1e-14)


def test_starts_go_on_until_one_is_taken_and_are_the_same_every_time():
    first = list(train.attempts("relu", 1, 3, 100))
    assert len(first) > 1 and [a.start for a in first] == list(range(1, len(first) + 1))
    assert [a.learned for a in first] == [False] * (len(first) - 1) + [True]
    second = list(train.attempts("relu", 1, 3, 100))
    assert all((a.network.numbers == b.network.numbers).all() for a, b in zip(first, second, strict=True))


def test_a_start_whose_units_are_dead_ends_at_the_constant():
    # both units off at every corner: only the output's bias learns, and it learns the mean
    dead = Network(np.full((2, 2), -1.0), np.full(2, -1.0), np.ones(2), 0.0, "relu")
    attempt = train.descend(dead)
    assert not attempt.learned and attempt.steps < train.MAX_STEPS
    assert attempt.mse == pytest.approx(0.25) and attempt.network.output_bias == pytest.approx(0.5)
    assert reading.states(attempt.network) == ["dead", "dead"]


@pytest.mark.parametrize(
    ("numbers", "error"),
    [
        # one unit left: exact at the corner it is on at, the mean 1/3 at the others: (1 + 4 + 1) / 9 / 4 = 1/6
        ([1.0, -1.0, -1.0, -1.0, 0.0, -1.0, 2 / 3, 0.0, 1 / 3], 1 / 6),
        # two units, at 10 and at 11: exact there, the mean 1/2 at 00 and 01: (1/4 + 1/4) / 4 = 1/8
        ([1.0, -1.0, 1.0, 1.0, 0.0, -1.0, 0.5, -0.5, 0.5], 1 / 8),
    ],
)
def test_the_errors_at_which_starts_get_stuck_are_fractions(numbers, error):
    empty = Network(np.zeros((2, 2)), np.zeros(2), np.zeros(2), 0.0, "relu")
    network = empty.with_numbers(np.array(numbers))
    assert train.mse(network) == pytest.approx(error)
    assert np.abs(train.gradient(network)).max() < 1e-12


# ---- reading


def test_or_and_not_and_is_read_from_two_lines():
    assert (reading.signs(OR_AND) > 0).T.tolist() == [[False, True, True, True], [False, False, False, True]]
    assert reading.as_logic(OR_AND) == "(A1 OR A2) AND (NOT (A1 AND A2))"
    assert reading.patterns(OR_AND) == [
        (("+", "+"), "11", False),
        (("+", "-"), "01, 10", True),
        (("-", "-"), "00", False),
    ]
    assert reading.readable(OR_AND)
    # y = (s1 - s2)/2: three equations, three numbers
    np.testing.assert_allclose(reading.fit_signs(OR_AND), [0.5, -0.5, 0.0], atol=1e-12)
    # the line A1 + A2 = 0.5 passes half-way between 00 and the diagonal, √2/4 from each
    np.testing.assert_allclose(reading.nearest(OR_AND), reading.LARGEST_MARGIN)


def test_a_line_with_all_corners_on_one_side_cannot_be_read():
    beside = Network(np.array([[1.0, 1.0], [1.0, 1.0]]), np.array([0.5, -1.5]), np.array([0.5, -0.5]), 0.0)
    assert reading.fit_signs(beside) is None and not reading.readable(beside)


def test_a_corner_on_the_line_is_on_the_off_side_as_for_a_relu():
    through = Network(np.array([[1.0, 0.0]]), np.array([0.0]), np.array([1.0]), 0.0)
    assert reading.signs(through).ravel().tolist() == [-1, -1, 1, 1]


def test_or_is_the_word_when_one_pattern_says_no():
    # unit 1 on at 01 only, unit 2 on at 10 only
    network = Network(np.array([[-1.0, 1.0], [1.0, -1.0]]), np.array([-0.5, -0.5]), np.array([0.5, 0.5]), 1.0)
    assert reading.as_logic(network) == "(A2 AND NOT A1) OR (A1 AND NOT A2)"


def test_every_name_is_true_where_it_says():
    for bits, text in reading.NAMES.items():
        python = text.replace("AND", "and").replace("NOT", "not").replace("OR", "or")
        python = {"XOR": "A1 != A2", "NOT XOR": "A1 == A2", "never": "False", "always": "True"}.get(text, python)
        tree = ast.parse(python, mode="eval").body
        for bit, (a, b) in zip(bits, CORNERS, strict=True):
            assert truth(tree, {"A1": bool(a), "A2": bool(b)}) is (bit == "1"), text


def truth(node: ast.expr, names: dict[str, bool]) -> bool:
    match node:
        case ast.Constant(value=bool() as value):
            return value
        case ast.Name(id=name):
            return names[name]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not truth(operand, names)
        case ast.BoolOp(op=ast.And(), values=values):
            return all(truth(v, names) for v in values)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(truth(v, names) for v in values)
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[other]):
            return truth(left, names) is truth(other, names)
        case ast.Compare(left=left, ops=[ast.NotEq()], comparators=[other]):
            return truth(left, names) is not truth(other, names)
    raise ValueError(ast.dump(node))


# ---- linear


def test_gradient_descent_and_the_normal_equations_agree_with_lstsq():
    rng = np.random.default_rng(3)
    features, targets = rng.standard_normal((50, 3)), rng.standard_normal(50)
    expected = np.linalg.lstsq(np.column_stack([features, np.ones(50)]), targets, rcond=None)[0]
    np.testing.assert_allclose(linear.closed_form(features, targets), expected, atol=1e-12)
    np.testing.assert_allclose(linear.descend(features, targets, rng), expected, atol=1e-10)


def test_the_best_line_is_one_half_everywhere():
    np.testing.assert_allclose(linear.closed_form(CORNERS, XOR), [0, 0, 0.5], atol=1e-15)
    assert linear.mse(CORNERS, XOR, linear.closed_form(CORNERS, XOR)) == pytest.approx(0.25)


def test_the_lines_that_are_drawn_find_and_what_a_line_can_do():
    rng = np.random.default_rng(0)
    assert linear.best_of_random_lines(CORNERS, np.array([0.0, 0, 0, 1]), rng, 1000) == 4
    assert linear.best_of_random_lines(CORNERS, XOR, rng, 1000) == 3


def test_a_step_shrinks_the_slowest_direction_by_what_is_said():
    table = stage_product.features(CORNERS)
    weights = [linear.descend(table, XOR, np.random.default_rng(0), steps) for steps in (1500, 1501)]
    left = [np.linalg.norm(w - stage_product.EXACT) for w in weights]
    assert left[1] / left[0] == pytest.approx(linear.slowest(table), abs=1e-6)


def test_parity_of_three_inputs():
    corners, odd = linear.parity(3)
    assert [int("".join(f"{x:.0f}" for x in corner), 2) for corner in corners] == list(range(8))
    assert odd.tolist() == [0, 1, 1, 0, 1, 0, 0, 1]


# ---- recorded weights


def test_weights_come_back_bit_for_bit(tmp_path):
    network = random_network(5, 3, "relu", "sigmoid")
    write_weights(tmp_path / "w.json", network)
    again = read_weights(tmp_path / "w.json")
    assert (again.numbers == network.numbers).all()
    assert (again.activation, again.output) == ("relu", "sigmoid")


def test_inputs_written_minus_one_and_one_give_the_same_outputs(tmp_path):
    content = {
        "hidden_weights": [[1.5, -0.5], [0.25, 2.0]],
        "hidden_biases": [0.5, -1.0],
        "output_weights": [1.0, -2.0],
        "output_bias": 0.25,
        "inputs": [-1, 1],
    }
    (tmp_path / "w.json").write_text(json.dumps(content))
    as_trained = Network(*(np.array(content[key]) for key in list(content)[:3]), 0.25)
    np.testing.assert_allclose(read_weights(tmp_path / "w.json")(CORNERS), as_trained(2 * CORNERS - 1), atol=1e-15)


GOOD = {"hidden_weights": [[1, 1], [1, 1]], "hidden_biases": [0, -1], "output_weights": [1, -2], "output_bias": 0}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not JSON"),
        ("[" * 50_000, "is not JSON"),
        ("[1]", "must be one JSON object with hidden_weights"),
        ("{}", "hidden_weights, hidden_biases, output_weights, output_bias missing"),
        (json.dumps({**GOOD, "bias": 1}), "'bias' unknown; known are hidden_weights"),
        (json.dumps({**GOOD, "format": 2}), "format must be 1, not 2"),
        (json.dumps({**GOOD, "format": True}), "format must be 1, not true"),
        (json.dumps({**GOOD, "activation": "elu"}), 'activation must be "tanh" or "relu", not "elu"'),
        (json.dumps({**GOOD, "activation": ["tanh"]}), 'not ["tanh"]'),
        (json.dumps({**GOOD, "hidden_biases": []}), "hidden_biases has 0 numbers; 1 to 32"),
        (json.dumps({**GOOD, "hidden_biases": [0] * 33}), "hidden_biases has 33 numbers; 1 to 32"),
        (json.dumps({**GOOD, "hidden_weights": [[1, 1]]}), "must be a list of 2 rows"),
        (json.dumps({**GOOD, "hidden_weights": [[1, 1], [1]]}), "hidden_weights, row 2 must be a list of 2 numbers"),
        (json.dumps({**GOOD, "output_weights": 3}), "output_weights must be a list of 2 numbers, not 3"),
        (json.dumps({**GOOD, "output_bias": True}), "between -1e+06 and 1e+06, not true"),
        (json.dumps({**GOOD, "output_bias": "1"}), 'not "1"'),
        (json.dumps({**GOOD, "output_bias": math.nan}), "not NaN"),
        (json.dumps({**GOOD, "output_bias": 10**400}), "output_bias must hold numbers"),
        (json.dumps(GOOD).replace("-1", "1e999"), "not Infinity"),
        ("{" + json.dumps(GOOD)[1:-1] + ', "output_bias": 1}', "a key is given twice"),
        (" " * 100_001, "more than 100,000 bytes"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(text, says, tmp_path, capsys):
    path = tmp_path / "w.json"
    path.write_text(text)
    with pytest.raises(RunError, match=re.escape(says)):
        read_weights(path)
    assert program.main(["--weights", str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}: ") and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_text_or_not_there_is_refused(tmp_path):
    (tmp_path / "w.json").write_bytes(b"\x80\x04\x95")
    with pytest.raises(RunError, match="is not JSON"):
        read_weights(tmp_path / "w.json")
    with pytest.raises(RunError, match="cannot read .*nothing.json: No such file"):
        read_weights(tmp_path / "nothing.json")


# ---- the program


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    """One whole run: exit code, lines printed, folder."""
    folder = tmp_path_factory.mktemp("lesson")
    words = ["--seed", "1", "--digits", "8", "--out", str(folder), "--record", str(folder / "w.json")]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = program.main(words)
    return code, printed.getvalue().splitlines(), folder


def test_every_check_of_the_lesson_stands(lesson):
    code, lines, _ = lesson
    assert code == 0
    checks = [line for line in lines if line.startswith("    ok ")]
    assert f"{len(checks)} of {len(checks)} checks stand." in lines and len(checks) > 15


def test_the_lesson_is_short_lines(lesson):
    lines = [line for line in lesson[1] if "/" not in line]
    assert max(map(len, lines)) < 100


def test_the_printed_formulas_are_the_networks(lesson):
    _, lines, folder = lesson
    starts = [i for i, line in enumerate(lines) if re.match(r"    y = .*(tanh|max)\(", line)]
    printed = [at_corners(lines[i : i + 3]) for i in starts]
    assert len(printed) == 2
    np.testing.assert_allclose(printed[0], read_weights(folder / "w.json")(CORNERS), atol=1e-6)
    relu = list(train.attempts("relu", 1, 3, 100))[-1].network
    np.testing.assert_allclose(printed[1], relu(CORNERS), atol=rounding_bound(relu, 8, CORNERS))
    assert all(right(values > 0.5) == 4 for values in printed)


def test_the_product_formula_is_found_by_both_ways(lesson):
    found = [line.split("y = ")[1] for line in lesson[1] if "y = 1*A1" in line]
    assert len(found) == 2
    for text in found:
        np.testing.assert_allclose(at_corners([text]), XOR, atol=1e-8)


def test_the_lesson_leaves_a_report_and_four_pictures(lesson):
    folder = lesson[2]
    names = ["stage_1_tanh", "stage_2_line", "stage_3_relu", "stage_4_product"]
    assert all((folder / f"{name}.png").stat().st_size > 10_000 for name in names)
    page = (folder / "report.html").read_text()
    assert "http" not in page and page.count("<figure>") == 4


def test_recorded_weights_are_explained_again(lesson, capsys, tmp_path):
    _, lines, folder = lesson
    words = ["--weights", str(folder / "w.json"), "--digits", "8", "--out", str(tmp_path)]
    assert program.main(words) == 0
    said = capsys.readouterr().out
    start = next(i for i, line in enumerate(lines) if line.startswith("    y = "))
    assert "\n".join(lines[start : start + 3]) in said
    assert "2. One line" not in said


def test_a_network_that_is_not_xor_fails_its_check(tmp_path, capsys):
    (tmp_path / "w.json").write_text(json.dumps({**GOOD, "output_weights": [1, 1], "activation": "relu"}))
    assert program.main(["--weights", str(tmp_path / "w.json"), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert said.err == "check failed: the printed formula gives XOR at all four corners\n"
    assert "FAILED" in said.out


def test_starts_that_all_fail_are_said_and_fail_the_check(tmp_path, capsys):
    # with seed 1 the first ReLU start gets stuck: see the lesson's fixture
    lesson = Lesson("ReLU", tmp_path)
    stage_fold.teach(lesson, seed=1, digits=6, max_starts=1)
    assert lesson.failed == ["one of the starts learned it (1 tried)"]
    assert lesson.close() is False
    said = capsys.readouterr()
    assert said.err == "check failed: one of the starts learned it (1 tried)\n"
    assert "start 1: 455 steps, error 0.167, stuck (unit 1 selective, unit 2 dead): next" in said.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--digits", "11"], "11: must be a whole number from 2 to 10"),
        (["--seed", "-1"], "must be a whole number"),
        (["--starts", "0"], "0: must be a whole number from 1"),
        (["--weights", "a", "--record", "b"], "not allowed with"),
        (
            ["--record", "no/such/folder/w.json"],
            "--record no/such/folder/w.json: must be a file in a folder that exists",
        ),
        (["again"], "unrecognized arguments: again"),
    ],
)
def test_wrong_arguments_get_one_line(words, says, capsys):
    with pytest.raises(SystemExit) as ended:
        program.main(words)
    error = capsys.readouterr().err
    assert ended.value.code == 2 and says in error and error.count("\n") == 1


# ---- the page

PAGE = Path(__file__).parents[2] / "docs" / "lab" / "xor_formula.md"


@pytest.mark.parametrize(("activation", "purpose"), [("tanh", stage_tanh.PURPOSE), ("relu", stage_fold.PURPOSE)])
def test_the_page_shows_the_formulas_that_the_default_seed_gives(activation, purpose):
    accept = reading.readable if activation == "tanh" else lambda _: True
    network = list(train.attempts(activation, 0, purpose, 100, accept))[-1].network
    # the last digits of numbers near 0 are the machine's own
    shown = [re.sub(r"\d\.\d+e-\d\d", "~0", line) for line in formula(network, 6)]
    assert "\n".join(shown) in re.sub(r"\d\.\d+e-\d\d", "~0", PAGE.read_text())


def test_the_weights_on_the_page_are_xor_and_are_explained(tmp_path, capsys):
    (tmp_path / "w.json").write_text(re.search(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)[1])
    assert program.main(["--weights", str(tmp_path / "w.json"), "--out", str(tmp_path)]) == 0
    assert "In words: XOR = (A1 OR A2) AND (NOT (A1 AND A2))." in capsys.readouterr().out
