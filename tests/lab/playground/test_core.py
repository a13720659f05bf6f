"""core.js, core.py, torch's autograd and lop.monitor on the same states."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lop.lab.playground import core
from lop.monitor.margins import classify, lowest, margin

TEACHERS = [core.Teacher(0.4, 1.3, -0.2, 1), core.Teacher(-0.7, -0.8, 0.5, -1)]
#: JavaScript's view of a student and a scene
SCENE = """(teacher, data) => {
    const x = Core.inputs(data), target = Core.targets(x, teacher);
    return { x, target, sums: Core.moments(data, x, target), teacher, data };
}"""
DATA = {"low": core.LOW, "high": core.HIGH, "count": core.COUNT}


@pytest.fixture(scope="module")
def states() -> np.ndarray:
    """1000 students [w, b, a, c]: of all signs, dead, always on, without a kink, with an input exactly at the kink."""
    rng = np.random.default_rng(7)
    states = rng.normal(0, 1.3, (1000, 4))
    x = core.inputs()
    at = rng.integers(0, len(x), 200)
    states[:200, 1] = -(states[:200, 0] * x[at])
    states[200:220, 0] = 0.0
    states[220:230, 2] = 0.0
    states[230:300, 1] -= 5.0
    states[300:370, 1] += 5.0
    return states


def students(states: np.ndarray) -> list[dict[str, float]]:
    return [dict(zip("wbac", row, strict=True)) for row in states.tolist()]


def autograd(teacher: core.Teacher, states: np.ndarray) -> np.ndarray:
    """The same by torch, one state after the other: losses and gradients, [..., 5]."""
    x = torch.from_numpy(core.inputs())
    target = teacher.m * torch.relu(teacher.s * (x - teacher.k)) + teacher.c
    rows = []
    for row in states:
        student = torch.tensor(row, requires_grad=True)
        w, b, a, c = student
        loss = 0.5 * (a * torch.relu(w * x + b) + c - target).square().mean()
        loss.backward()
        rows.append([loss.item(), *student.grad.tolist()])
    return np.array(rows)


def in_page(script, body: str, teacher: core.Teacher, *arguments):
    """What `body` returns in the browser; it sees `scene` and the list `given`."""
    program = f"([teacher, data, given]) => {{ const scene = ({SCENE})(teacher, data); {body} }}"
    return script.evaluate(program, [teacher._asdict(), DATA, list(arguments)])


@pytest.mark.parametrize("teacher", TEACHERS)
def test_the_pages_gradient_is_autograds_to_1e_12_on_1000_states(script, states, teacher):
    body = """return given[0].map(p => { const g = Core.gradient(scene.x, scene.target, p);
                                          return [g.loss, g.w, g.b, g.a, g.c]; })"""
    found = np.array(in_page(script, body, teacher, students(states)))
    expected = autograd(teacher, states)
    assert np.abs(found - expected).max() < 1e-12
    dead = core.margin(core.inputs(), states) <= 0
    assert dead.sum() > 50 and not expected[dead, 1:4].any() and not found[dead, 1:4].any()


@pytest.mark.parametrize("teacher", TEACHERS)
def test_the_references_gradient_is_autograds(states, teacher):
    x = core.inputs()
    target = core.teach(x, teacher)
    expected = autograd(teacher, states)
    np.testing.assert_allclose(core.loss(x, target, states), expected[:, 0], rtol=1e-13)
    np.testing.assert_allclose(core.gradient(x, target, states), expected[:, 1:], atol=1e-13)


def test_an_input_at_the_kink_passes_no_gradient(script):
    # one input, x = 2, at the kink of w = 3, b = -6; error = 0.5 - 1: only c may move
    found = script.evaluate("() => Core.gradient([2], [1], { w: 3, b: -6, a: 4, c: 0.5 })")
    assert found == {"loss": 0.125, "w": 0, "b": 0, "a": 0, "c": -0.5}


def test_a_step_worked_by_hand(script):
    # x = 1, 2; w = 2, b = -3, a = 1, c = 0: z = -1, 1; y = 0, 1; t = 1, -1; errors -1, 2
    # means over both: dw = 1·2·2/2 = 2, db = 1·2/2 = 1, da = 2·1/2 = 1, dc = 1/2; L = (1 + 4)/2/2
    student = {"w": 2, "b": -3, "a": 1, "c": 0}
    found = script.evaluate("p => [Core.gradient([1, 2], [1, -1], p), Core.step([1, 2], [1, -1], p, 0.1)]", student)
    assert found[0] == {"loss": 1.25, "w": 2, "b": 1, "a": 1, "c": 0.5}
    assert found[1] == pytest.approx({"w": 1.8, "b": -3.1, "a": 0.9, "c": -0.05})
    x, target, row = np.array([1.0, 2.0]), np.array([1.0, -1.0]), np.array([2.0, -3.0, 1.0, 0.0])
    np.testing.assert_allclose(core.train(x, target, row, 0.1, 1)[1], [1.8, -3.1, 0.9, -0.05])


def test_the_inputs_are_those_of_the_definition(script):
    x = core.inputs()
    np.testing.assert_allclose(np.diff(x), np.sqrt(3) / 100, rtol=1e-12)
    assert (x[0], x[-1], len(x)) == (-np.sqrt(3), np.sqrt(3), 201)
    assert in_page(script, "return [...scene.x]", TEACHERS[0]) == x.tolist()


@pytest.mark.parametrize("rate", [0.05, -0.01])
def test_many_steps_are_the_same_in_both_languages(script, states, rate):
    steps = 1000 if rate > 0 else 20
    body = """return given[0].map(p => { for (let i = 0; i < given[1]; i++) p = Core.step(scene.x, scene.target, p, given[2]);
                                         return [p.w, p.b, p.a, p.c]; })"""
    starts = states[400:430] / 2
    found = np.array(in_page(script, body, TEACHERS[0], students(starts), steps, rate))
    x = core.inputs()
    expected = core.train(x, core.teach(x, TEACHERS[0]), starts, rate, steps)[-1]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_kink_slope_and_side_there_and_back(script, states):
    found = script.evaluate("all => all.map(p => Object.values(Core.shape(p)))", students(states[:200]))
    np.testing.assert_allclose(np.array(found), np.stack(core.shape(states[:200]), -1))
    assert script.evaluate("Object.values(Core.shape({ w: 0, b: 1, a: 2, c: 0 })).map(String)") == ["NaN", "0", "0"]
    k, m, s = core.shape(states[0])
    back = core.from_shape(k, m, s, abs(states[0, 0]), states[0, 3])
    np.testing.assert_allclose(back, states[0])
    given = {"k": float(k), "m": float(m), "s": float(s)}
    again = script.evaluate("([p, size, c]) => Object.values(Core.fromShape(p, size, c))", [given, 0.7, 0.1])
    np.testing.assert_allclose(again, core.from_shape(k, m, s, 0.7, 0.1))


def test_another_ratio_is_the_same_function(script, states):
    found = script.evaluate("all => all.map(p => Object.values(Core.withRatio(p, 2.5)))", students(states[500:600]))
    x = core.inputs()
    np.testing.assert_allclose(core.predict(x, np.array(found)), core.predict(x, states[500:600]), atol=1e-12)
    np.testing.assert_allclose(np.abs(np.array(found)[:, 0] / np.array(found)[:, 2]), 2.5)


def test_the_landscapes_are_the_loss(script, states):
    # along a and along b, from running sums, against the loss over all inputs
    body = """return given[0].map(p => { const one = new Float64Array(7), two = new Float64Array(7);
        Core.lossOverOutput(scene.sums, p.w, p.b, p.c, -3, 1, one); Core.lossOverBias(scene.sums, p.w, p.a, p.c, 3, -1, two);
        return [[...one], [...two]]; })"""
    found = np.array(in_page(script, body, TEACHERS[1], students(states)))
    x = core.inputs()
    target = core.teach(x, TEACHERS[1])
    for column, values, part in ((2, np.arange(-3.0, 4), 0), (1, np.arange(3.0, -4, -1), 1)):
        for i, value in enumerate(values):
            there = states.copy()
            there[:, column] = value
            np.testing.assert_allclose(found[:, part, i], core.loss(x, target, there), rtol=1e-11, atol=1e-12)


def test_the_arrows_gradient_is_the_gradient(script, states):
    body = "return given[0].map(p => { const g = Core.quickGradient(scene.sums, p); return [g.w, g.b, g.a, g.c]; })"
    found = np.array(in_page(script, body, TEACHERS[0], students(states)))
    x = core.inputs()
    # rounding may put an input at the kink on either side, where the derivative jumps by its own share of 1/201
    expected = core.gradient(x, core.teach(x, TEACHERS[0]), states)
    assert np.abs(found[200:] - expected[200:]).max() < 1e-12
    assert np.abs(found[:200] - expected[:200]).max() < 0.5


def test_an_arrow_at_the_student_points_where_it_goes(script, states):
    # 1e-7 of a step of gradient descent, seen in each view, against the arrow there
    body = """return given[0].flatMap(p => { const all = { teacher: scene.teacher, student: p, data: scene.data };
        const next = Core.step(scene.x, scene.target, p, 1e-7);
        return Views.slices.filter(v => v.project(p)).map(v => { const at = v.project(p), to = v.project(next);
            return [v.flow(all, scene.sums, ...at), [(to[0] - at[0]) * 1e7, (to[1] - at[1]) * 1e7]]; }); })"""
    clear = states[400:500][np.abs(states[400:500, 0]) > 0.2]
    found = np.array(in_page(script, body, TEACHERS[0], students(clear)))
    assert len(found) == 3 * len(clear)
    np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=1e-4, atol=1e-4)


def test_the_surface_of_a_balance_goes_through_the_student(script, states):
    clear = states[400:][np.abs(states[400:, 0]) > 0.05]
    k, m, _ = core.shape(clear)
    found = script.evaluate(
        "all => all.map(p => Core.sizeOnSurface(Core.shape(p).k, Core.shape(p).m, Core.balance(p)))", students(clear)
    )
    np.testing.assert_allclose(found, np.abs(clear[:, 0]), rtol=1e-9)
    for row in range(50):
        value = float(core.balance(clear[row]))
        assert core.size_on_surface(k[row], m[row], value) == pytest.approx(abs(clear[row, 0]), rel=1e-9)
    # on the line m = 0: w² (1 + k²) = balance, nothing for a negative one
    assert script.evaluate("[Core.sizeOnSurface(2, 0, 5), Core.sizeOnSurface(2, 0, -5)]") == [1, 0]
    assert core.size_on_surface(2, 0, 5) == pytest.approx(1) and core.size_on_surface(2, 0, -5) == 0


def test_small_steps_keep_the_balance_and_large_ones_do_not():
    x = core.inputs()
    target = core.teach(x, TEACHERS[0])
    start = np.array([0.9, 0.1, -0.7, -0.5])
    drift = [np.ptp(core.balance(core.train(x, target, start, rate, round(20 / rate)))) for rate in (0.02, 0.01)]
    assert drift[1] < 0.005 and drift[0] / drift[1] == pytest.approx(2, rel=0.1)  # first order in the rate


def test_margin_and_state_are_the_monitors(script, states):
    z = torch.from_numpy(states[:, :1] * core.inputs() + states[:, 1:2]).T  # [N, H]: each student is a unit
    gamma, low = margin(z), lowest(z)
    np.testing.assert_array_equal(core.margin(core.inputs(), states), gamma.numpy())
    np.testing.assert_array_equal(core.lowest(core.inputs(), states), low.numpy())
    body = (
        "return given[0].map(p => [Core.margin(scene.data, p), Core.lowest(scene.data, p), Core.state(scene.data, p)])"
    )
    found = in_page(script, body, TEACHERS[0], students(states))
    np.testing.assert_allclose([row[0] for row in found], gamma, atol=1e-15)
    np.testing.assert_allclose([row[1] for row in found], low, atol=1e-15)
    classes = classify(gamma, low)
    masks = {"dead": classes.dead, "always on": classes.always_on}
    masks["at risk"] = classes.at_risk & ~classes.always_on
    masks["selective"] = classes.selective & ~classes.at_risk
    for name, mask in masks.items():
        assert [row[2] == name for row in found] == mask.tolist(), name
        assert mask.any()


@pytest.mark.parametrize("data", [DATA, {"low": 0.5, "high": 2, "count": 4}, {"low": -2, "high": 0, "count": 3}])
def test_dead_and_always_on_are_where_the_views_hatch_them(script, data):
    rng = np.random.default_rng(3)
    pairs = rng.normal(0, 1.5, (400, 2)).tolist()
    body = """([data, pairs]) => pairs.map(([w, b]) => {
        const inside = range => Boolean(range) && w > range[0] && w < range[1];
        return [inside(Core.deadWeights(data, b)), inside(Core.alwaysOnWeights(data, b)), Core.state(data, { w, b })]; })"""
    for dead, on, state in script.evaluate(body, [data, pairs]):
        assert (dead, on) == (state == "dead", state == "always on")
