"""Hands on the page, in a real browser: every handle, button, field and key."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest

PLACE = """([name, x, y]) => {
    const { plane } = playground.screens.find(screen => screen.view.name === name);
    plane.canvas.scrollIntoView({ block: "nearest" });
    const frame = plane.canvas.getBoundingClientRect();
    return [frame.left + plane.toX(x), frame.top + plane.toY(y)];
}"""
HANDLE = """([name, id]) => {
    const { view, plane } = playground.screens.find(screen => screen.view.name === name);
    const handle = view.handles(playground.scene, plane.window).find(one => one.id === id);
    return [handle.x, handle.y];
}"""
#: two frames: what was asked for in this one is drawn in the next
SETTLED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def scene(page):
    return page.evaluate("playground.scene")


def shape(page):
    return page.evaluate("Core.shape(playground.scene.student)")


def take(page, view: str, handle: str) -> None:
    page.mouse.move(*page.evaluate(PLACE, [view, *page.evaluate(HANDLE, [view, handle])]))
    page.mouse.down()


def drag(page, view: str, handle: str, x: float, y: float) -> None:
    take(page, view, handle)
    page.mouse.move(*page.evaluate(PLACE, [view, x, y]), steps=3)
    page.mouse.up()


def field(page, name: str):
    return page.locator(f"[data-value='{name}']")


def type_in(page, name: str, text: str) -> None:
    field(page, name).fill(text)
    field(page, name).press("Enter")


def message(page) -> str:
    return page.inner_text("#message")


def near(value: float) -> object:
    return pytest.approx(value, abs=0.02)  # a pixel


@pytest.mark.parametrize(
    "view, handle, to, found",
    [
        ("io", "student-kink", (1.0, 0.5), {"k": 1.0, "c": 0.5}),
        ("io", "student-slope", (1.0, -0.6), {"m": -1.2 / 2.125}),
        ("io", "student-slope", (-2.125, 1.6), {"m": 1.0, "s": -1}),  # pulled over to the other side
        ("right", "student", (-0.5, -1.5), {"k": -0.5, "m": -1.5}),
        ("wb", "student", (-1.0, 0.5), {"w": -1.0, "b": 0.5, "k": 0.5, "s": -1}),
        ("wa", "student", (2.0, -1.0), {"w": 2.0, "a": -1.0, "m": -2.0}),
    ],
)
def test_the_student_follows_the_hand_in_every_view(page, view, handle, to, found):
    before = scene(page)
    drag(page, view, handle, *to)
    after = scene(page)
    assert {**after["student"], **shape(page)}.items() >= {key: near(value) for key, value in found.items()}.items()
    assert after["teacher"] == before["teacher"]
    if view != "wa" and view != "wb":
        assert abs(after["student"]["w"]) == pytest.approx(abs(before["student"]["w"]))


@pytest.mark.parametrize(
    "view, handle, to, found",
    [
        ("io", "teacher-kink", (-1.0, 0.5), {"k": -1.0, "c": 0.5, "m": 1.2}),
        ("io", "teacher-slope", (1.5, -1.0), {"m": -1.0, "s": 1}),
        ("right", "teacher", (-0.5, 2.0), {"k": -0.5, "m": 2.0, "s": 1}),
        ("wb", "teacher", (-1.0, 1.5), {"k": 1.5, "s": -1}),
        ("wa", "teacher", (-1.0, 2.0), {"m": 2.0, "s": -1, "k": 0.5}),
    ],
)
def test_the_teacher_follows_the_hand_in_every_view(page, view, handle, to, found):
    before = scene(page)
    drag(page, view, handle, *to)
    after = scene(page)
    assert after["teacher"].items() >= {key: near(value) for key, value in found.items()}.items()
    assert after["student"] == before["student"]


def test_the_left_plane_is_of_students_that_look_left(opened):
    page = opened("#student=-1,0.5,1,0&teacher=-1,1,0,-1")
    drag(page, "left", "student", 1.5, 2.0)
    assert shape(page) == {"k": near(1.5), "m": near(2.0), "s": -1}
    drag(page, "left", "teacher", -1.5, -1.0)
    assert scene(page)["teacher"] == {"k": near(-1.5), "m": near(-1.0), "c": 0, "s": -1}
    assert (
        page.evaluate("Views.all.find(v => v.name === 'right').handles(playground.scene, {x: [-3, 3], y: [-3, 3]})")
        == []
    )


def test_the_edges_of_the_data_follow_the_hand(page):
    drag(page, "io", "data-low", -1.0, 0)
    drag(page, "io", "data-high", 2.0, 0)
    assert scene(page)["data"] == {"low": near(-1.0), "high": near(2.0), "count": 201}
    assert page.evaluate("[playground.x[0], playground.x.length, playground.x.at(-1)]") == [near(-1.0), 201, near(2.0)]


def test_a_student_in_the_hand_stays_there_while_it_runs(page):
    take(page, "wa", "student")
    page.evaluate("playground.play()")
    page.mouse.move(*page.evaluate(PLACE, ["wa", -2.0, 1.0]), steps=3)
    held = scene(page)["student"]
    page.wait_for_function("b => playground.scene.student.b !== b", arg=held["b"])  # b and c go on learning
    assert scene(page)["student"].items() >= {"w": near(-2.0), "a": near(1.0)}.items()
    page.mouse.up()
    page.wait_for_function("w => playground.scene.student.w !== w", arg=scene(page)["student"]["w"])


def test_a_step_is_one_step_of_gradient_descent(page):
    expected = page.evaluate("Core.step(playground.x, playground.target, playground.scene.student, 0.1)")
    page.click("[data-do=stepOnce]")
    assert scene(page)["student"] == expected
    page.keyboard.press(".")
    page.wait_for_function("document.getElementById('read-steps').textContent === '2'")


def test_play_and_pause(page):
    page.click("#play")
    page.wait_for_function("playground.steps > 5")
    assert page.inner_text("#play") == "❚❚ pause"
    page.click("#play")
    page.evaluate(SETTLED)
    steps = page.evaluate("playground.steps")
    page.wait_for_timeout(150)
    assert page.evaluate("playground.steps") == steps
    assert page.inner_text("#play") == "▶ play"
    assert page.evaluate("playground.trail.points.length") > 1
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press(" ")
    page.wait_for_function("s => playground.steps > s", arg=steps)


def test_nothing_is_drawn_while_nothing_changes(page):
    page.evaluate(SETTLED)
    page.wait_for_timeout(200)
    before = page.evaluate("({...playground.counted})")
    page.wait_for_timeout(300)
    assert page.evaluate("({...playground.counted})") == before


def test_a_dead_student_costs_no_drawing_and_a_landscape_is_drawn_when_it_changes(opened):
    page = opened("#student=0.6,-1.3,1.2,0&teacher=0,1,0.5,1&data=-1,1,3")
    page.evaluate(
        "() => { playground.set('student.c', String(1/3 + 0.5)); playground.set('rate', 1); playground.play() }"
    )
    page.wait_for_function("playground.steps > 40")  # c is at the mean now
    before = page.evaluate("({...playground.counted})")
    page.wait_for_function("f => playground.counted.frames > f + 5", arg=before["frames"])
    page.evaluate("playground.pause()")
    page.evaluate(SETTLED)
    page.wait_for_timeout(100)
    after = page.evaluate("({...playground.counted})")
    assert after["images"] == before["images"] and after["drawn"] - before["drawn"] <= 2
    page.evaluate("playground.set('teacher.k', 0.3)")
    page.wait_for_function("i => playground.counted.images === i + 4", arg=after["images"])


def test_reversed_it_climbs(page):
    losses = "Core.gradient(playground.x, playground.target, playground.scene.student).loss"
    before = page.evaluate(losses)
    page.click("#reverse")
    page.click("[data-do=stepOnce]")
    assert page.evaluate(losses) > before
    page.evaluate(SETTLED)
    assert page.get_attribute("#reverse", "aria-pressed") == "true"
    page.click("#reverse")
    page.evaluate("for (let i = 0; i < 5; i++) playground.stepOnce()")
    assert page.evaluate(losses) < before


def test_a_student_that_runs_away_is_stopped_and_said(page):
    page.click("#reverse")
    type_in(page, "rate", "1")
    page.click("#play")
    page.wait_for_function("!playground.playing")
    assert "run away" in message(page) and page.get_attribute("#message", "class") == "wrong"
    assert all(abs(value) <= 1000 for value in scene(page)["student"].values())
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("s")
    assert scene(page)["student"] == {"w": 0.8, "b": 0.9, "a": 0.5, "c": 0.6}


TYPED = [
        ("teacher.k", "-0.25", {"k": -0.25}),
        ("teacher.m", "2", {"m": 2}),
        ("teacher.c", "−1", {"c": -1}),  # a minus sign as the page writes it
        ("student.w", "-2", {"w": -2, "b": 0.9, "a": 0.5}),
        ("student.b", "1e-3", {"b": 0.001}),
        ("student.a", "-0.5", {"a": -0.5, "m": -0.4}),
        ("student.c", "0.1", {"c": 0.1}),
        ("student.k", "1.5", {"k": 1.5, "w": 0.8, "a": 0.5, "m": 0.4}),
        ("student.m", "-1", {"m": -1, "k": -1.125, "w": 0.8}),
        ("student.ratio", "4", {"k": -1.125, "m": 0.4, "w": math.sqrt(1.6), "a": math.sqrt(0.1)}),
        ("data.low", "-3", {"low": -3}),
        ("data.count", "11", {"count": 11}),
        ("rate", "0.0005", {"rate": 0.0005}),
        ("speed", "7", {"speed": 7}),
]  # fmt: skip


def test_numbers_can_be_typed(page):
    for name, text, found in TYPED:
        page.evaluate("playground.goHome()")
        type_in(page, name, text)
        now = scene(page)
        part = name.partition(".")[0]
        values = {**now["student"], **shape(page)} if part == "student" else now[part]
        values = {name: values} if part in ("rate", "speed") else values
        assert {key: values[key] for key in found} == pytest.approx(found), name
        assert page.get_attribute("#message", "class") == ""


def test_sides_can_be_chosen(page):
    field(page, "teacher.s").select_option("-1")
    field(page, "student.s").select_option("-1")
    assert scene(page)["teacher"]["s"] == -1
    assert shape(page) == {"k": pytest.approx(-1.125), "m": pytest.approx(0.4), "s": -1}


REFUSED = [
        ("teacher.k", "left", "k = left: a number from -100 to 100 is allowed"),
        ("student.w", "", "w = nothing: a number from -1000 to 1000 is allowed"),
        ("student.a", "1e9", "a = 1e9: a number from -1000 to 1000 is allowed"),
        ("data.count", "2.5", "count = 2.5: a whole number from 2 to 2001 is allowed"),
        ("data.low", "5", "data from 5 to 1.7320508075688772: the first must be the smaller"),
        ("rate", "0", "rate = 0: a number from 0.0001 to 1 is allowed"),
        ("student.ratio", "-1", "ratio = -1: a number from 0.000001 to 1000000 is allowed"),
]  # fmt: skip


def test_what_cannot_be_is_said_in_one_line_and_changes_nothing(page):
    before = scene(page)
    for name, text, said in REFUSED:
        type_in(page, name, text)
        assert message(page) == said and scene(page) == before
        assert field(page, name).get_attribute("aria-invalid") == "true"
        page.evaluate("document.activeElement.blur()")
        page.evaluate(SETTLED)
        assert field(page, name).get_attribute("aria-invalid") is None
        assert field(page, name).input_value() not in (text, "")


def test_without_a_kink_none_can_be_typed(opened):
    page = opened("#student=0,1,1,0")
    assert field(page, "student.k").input_value() == "–"
    type_in(page, "student.k", "1")
    assert message(page) == "k: w = 0, a constant has no kink and no side; give w first"


def test_weights_stay_within_what_an_address_takes(opened):
    page = opened("#student=0.001,0,1,0")
    type_in(page, "student.m", "5")
    assert message(page) == "a = 5000: a number from -1000 to 1000 is allowed"
    drag(page, "right", "student", -1.0, 2.0)
    assert scene(page)["student"] == {"w": 0.001, "b": near(0.001), "a": 1000, "c": 0}


def test_the_sliders_are_logarithmic(page):
    for position, value in ((0, 1e-4), (500, 0.01), (1000, 1)):
        page.locator("#rate").fill(str(position))
        assert scene(page)["rate"] == pytest.approx(value)
    page.locator("#rate").press("ArrowLeft")
    assert scene(page)["rate"] == pytest.approx(10 ** (-4 / 1000), rel=1e-2)
    page.locator("#speed").fill("1000")
    assert scene(page)["speed"] == 100


def test_starts_reset_erase_and_home(page):
    page.select_option("#preset", label="dies while it learns")
    chosen = scene(page)
    assert chosen["student"] == {"w": -0.7, "b": -0.1, "a": 0.8, "c": 0.7}
    assert "γ = 0" in message(page)
    page.evaluate("playground.set('speed', 100); playground.play()")
    page.wait_for_function("document.getElementById('read-state').textContent === 'dead'")
    page.evaluate("playground.pause()")
    assert float(page.inner_text("#read-margin").replace("−", "-")) <= 0
    drag(page, "io", "teacher-kink", 1.0, 1.0)
    page.click("button[aria-label='reset teacher']")
    page.click("button[aria-label='reset student']")
    assert {**scene(page), "speed": 1} == chosen
    assert page.evaluate("playground.trail.points.length") > 10
    page.click("[data-do=erase]")
    assert page.evaluate("playground.trail.points.length") == 0
    page.click("[data-do=goHome]")
    assert scene(page)["student"]["w"] == 0.8 and page.input_value("#preset") == "0"


def test_reset_goes_back_to_where_the_hand_put_it(page):
    drag(page, "wb", "student", 1.5, -0.5)
    put = scene(page)["student"]
    page.evaluate("for (let i = 0; i < 9; i++) playground.stepOnce()")
    assert scene(page)["student"] != put
    page.click("button[aria-label='reset student']")
    assert scene(page)["student"] == put


def test_an_address_brings_the_state_back(page, opened):
    drag(page, "wa", "student", 1.1, -1.3)
    type_in(page, "data.count", "33")
    page.click("#reverse")
    page.click("[data-do=stepOnce]")
    page.click("[data-do=share]")
    page.evaluate(SETTLED)
    assert "address" in message(page)
    hash = page.evaluate("location.hash")
    again = opened(hash)
    assert scene(again) == scene(page)
    again.evaluate("h => { location.hash = h }", "#teacher=0.5,1,0,-1&rate=0.5")
    again.wait_for_function("playground.scene.rate === 0.5")
    assert scene(again)["teacher"] == {"k": 0.5, "m": 1, "c": 0, "s": -1}


@pytest.mark.parametrize(
    "hash, said",
    [
        ("#rate=fast", "The address: rate = fast: a number from 0.0001 to 1 is allowed"),
        ("#student=1,2", "The address: student=1,2: w,b,a,c are wanted"),
        ("#colour=red", "The address: colour=red: known are teacher, student, data, rate, speed, reverse"),
    ],
)
def test_a_wrong_address_is_said_and_home_is_shown(opened, hash, said):
    page = opened(hash)
    assert message(page) == said
    assert scene(page)["student"] == {"w": 0.8, "b": 0.9, "a": 0.5, "c": 0.6}


def test_the_keyboard_moves_what_the_hand_can(page):
    page.focus("#view-right")
    before = shape(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    assert shape(page) == {"k": pytest.approx(before["k"] + 0.03), "m": pytest.approx(before["m"] + 0.3), "s": 1}
    page.keyboard.press("Enter")
    assert message(page) == "teacher: arrow keys move it"
    page.keyboard.press("ArrowLeft")
    assert scene(page)["teacher"]["k"] == pytest.approx(0.5 - 0.03)
    page.keyboard.press("+")
    assert page.evaluate("playground.screens[2].plane.window.x") == pytest.approx([-2.4, 2.4])


def test_zoom_and_pan(page):
    window = "playground.screens[3].plane.window"
    zoom = page.locator("figure:has(#view-wb) .zoom button")
    zoom.nth(1).click()
    assert page.evaluate(window) == {"x": pytest.approx([-2.4, 2.4]), "y": pytest.approx([-2.4, 2.4])}
    page.mouse.move(*page.evaluate(PLACE, ["wb", -2.0, 2.0]))
    page.mouse.down()
    page.mouse.move(*page.evaluate(PLACE, ["wb", -1.0, 2.0]))
    page.mouse.up()
    assert page.evaluate(window)["x"] == near([-3.4, 1.4])
    page.mouse.dblclick(*page.evaluate(PLACE, ["wb", -2.0, 2.0]))
    assert page.evaluate(window) == {"x": [-3, 3], "y": [-3, 3]}


def test_a_finger_drags_a_handle_and_the_page_stays(opened):
    page = opened("", viewport={"width": 390, "height": 844}, has_touch=True)
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *places: list[float]) -> None:
        points = [{"x": x, "y": y} for x, y in places]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    start = page.evaluate(PLACE, ["io", *page.evaluate(HANDLE, ["io", "student-kink"])])
    to = page.evaluate(PLACE, ["io", 0.5, -1.0])
    touch("touchStart", start)
    for share in (0.3, 0.6, 1.0):
        touch("touchMove", [a + share * (b - a) for a, b in zip(start, to, strict=True)])
    touch("touchEnd")
    assert shape(page)["k"] == near(0.5) and scene(page)["student"]["c"] == near(-1.0)
    assert page.evaluate("scrollY") == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("size", [(1366, 640), (1920, 1080), (1000, 700), (768, 1024), (390, 844), (1366, 768)])
def test_nothing_sticks_out_and_every_view_has_room(page, size):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.wait_for_function("playground.screens.every(({ plane }) => plane.width === plane.canvas.clientWidth)")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    boxes = page.evaluate("playground.screens.map(({ plane }) => [plane.box.width, plane.box.height])")
    assert all(width >= 200 and height >= 150 for width, height in boxes)
    clipped = """[...document.querySelectorAll("#numbers, #numbers label, #numbers .readings, .key")]
        .filter(one => one.scrollWidth > one.clientWidth + 1 || (one.id && one.scrollHeight > one.clientHeight + 1))
        .map(one => one.textContent)"""
    assert page.evaluate(clipped) == []


def test_light_and_dark(opened):
    page = opened("", color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(20, 23, 27)"
    page.click("#theme")
    page.evaluate(SETTLED)
    assert page.evaluate(ground) == "rgb(246, 247, 249)"
    assert page.evaluate("playground.theme.name") == "light"
    light = brightness(page)
    page.click("#theme")
    page.evaluate(SETTLED)
    assert light > brightness(page) + 100


def brightness(page) -> float:
    """Mean of the pixels within the views, 0 to 255."""
    image = pytest.importorskip("PIL.Image").open(io.BytesIO(page.locator("#views").screenshot()))
    return float(np.asarray(image.convert("L")).mean())


def test_the_landscape_on_the_screen_is_the_loss(page):
    # the colour under a point of each slice, against the palette at the loss there
    page.evaluate(SETTLED)
    program = """() => playground.screens.slice(1).map(({ view, plane, picture }) => {
        const [i, j] = [41, 23], width = picture.image.width;
        const { x, y } = plane.window;
        const at = [x[0] + (i + 0.5) / width * (x[1] - x[0]), y[1] - (j + 0.5) / picture.image.height * (y[1] - y[0])];
        const { student } = playground.scene;
        const side = view.name === "left" ? -1 : 1;
        const there = { left: () => Core.fromShape({ k: at[0], m: at[1], s: side }, 1, student.c),
            right: () => Core.fromShape({ k: at[0], m: at[1], s: side }, 1, student.c),
            wb: () => ({ ...student, w: at[0], b: at[1] }), wa: () => ({ ...student, w: at[0], a: at[1] }) }[view.name]();
        const loss = Core.gradient(playground.x, playground.target, there).loss + Landscape.FLOOR;
        return [loss, picture.losses[j * width + i]];
    })"""
    for loss, shown in page.evaluate(program):
        assert shown == pytest.approx(loss, rel=1e-5)
