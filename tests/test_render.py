"""Filming a run's policy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from small_runs import small

from lop.analysis.unit_strip import DEAD, SILENT, STATE_COLOURS
from lop.envs.render import choose_backend
from lop.evaluate import environments_of
from lop.render import frames, main, scene_of, strip_of, write_film
from lop.run.reader import read_run
from lop.train import main as train

imageio = pytest.importorskip("imageio.v2", reason="the extra [video] is not installed")
ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="the extra [video] is not installed")
SMALL = small(
    "snapshots=2",
    "ppo.num_minibatches=2",
    "ppo.num_epochs=1",
    "ppo.hidden_sizes=[10,6]",
    "monitor.buffer_size=50",
    "total_steps=256",
    "monitor.epsilon=0.2",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    assert train(["env=ant", "algo=std", *SMALL, f"runs_dir={root}"]) == 0
    return root / "ant" / "std" / "seed_0"


def film(folder, count=8, *, friction=None, step=None, **options):
    try:
        choose_backend()
    except RuntimeError as error:
        pytest.skip(str(error))
    return list(frames(scene_of(folder, step, friction), max_steps=count, width=64, height=48, **options))


def test_a_film_is_the_same_twice_and_another_at_another_friction_step_and_seed(folder):
    first = np.array(film(folder, friction=1.0))
    assert first.shape == (8, 48, 64, 3)
    assert (first[0] != first[-1]).any()
    np.testing.assert_array_equal(first, film(folder, friction=1.0))
    slippery = np.array(film(folder, friction=0.02))
    # the same start, then other motions
    np.testing.assert_array_equal(slippery[0], first[0])
    assert (slippery[-1] != first[-1]).any()
    assert (np.array(film(folder, friction=1.0, step=0))[-1] != first[-1]).any()
    assert (np.array(film(folder, friction=1.0, seed=1))[0] != first[0]).any()
    assert (np.array(film(folder, friction=1.0, stochastic=True))[-1] != first[-1]).any()


def test_a_film_ends_with_its_episodes(folder):
    run = read_run(folder)
    vector = environments_of(run, 1, 1.0, 0)
    scene, length = scene_of(folder, None, 1.0), 0
    while not vector.finished:
        observation = np.zeros((1, 111), np.float32)
        observation[:, :27] = vector.observation[0]
        with torch.inference_mode():
            action = scene.policy(torch.from_numpy(observation)).numpy()
        vector.step(np.clip(action, -1, 1)[None])
        length += 1
    if length < 300:
        assert len(film(folder, 300, friction=1.0)) == length


def test_the_strip_shows_dead_units_by_their_margins(folder):
    scene = scene_of(folder)
    # a bias of -100 keeps unit 3 of the first layer from ever firing
    scene.tensors["actor.0.bias"] = scene.tensors["actor.0.bias"].copy()
    scene.tensors["actor.0.bias"][3] = -100.0
    strip = strip_of(scene, scene.policy, 80)
    assert [len(dead) for dead in strip.dead] == [10, 6]
    assert strip.dead[0][3]
    hidden = [np.full(10, -1.0), np.full(6, 1.0)]
    picture = strip.below(np.zeros((4, 80, 3), np.uint8), hidden)
    # 10 units, 8 pixels each, below 4 rows of picture and 4 of margin; the lines between cells are dark
    cells = picture[4 + 4 + 4, 4::8]
    np.testing.assert_array_equal(cells[3], STATE_COLOURS[DEAD])
    alive = next(i for i in range(10) if not strip.dead[0][i] and not strip.at_risk[0][i])
    np.testing.assert_array_equal(cells[alive], STATE_COLOURS[SILENT])


def test_dead_and_at_risk_are_those_that_the_run_recorded(folder):
    run = read_run(folder)
    scene = scene_of(folder, None)
    strip = strip_of(scene, scene.policy, 80)
    # the file holds half precision
    margins = run.unit_field("margin")[-1].astype(float)
    np.testing.assert_allclose(np.concatenate(strip.margins), margins, atol=2e-3, rtol=2e-3)


def test_the_strip_of_a_snapshot_is_below_the_picture(folder):
    pictures = film(folder, 2, step=128, units=True)
    assert pictures[0].shape[0] > 48
    assert pictures[0].shape[0] % 2 == 0


@pytest.mark.parametrize("name", ["film.mp4", "film.gif"])
def test_the_film_holds_every_picture(folder, tmp_path, name, capsys):
    film(folder, 1)
    words = [str(folder), "--out", str(tmp_path / name), "--max-steps", "5", "--size", "64x48", "--friction", "0.5"]
    assert main(words) == 0
    assert "5 pictures, 0.2 s, step 256, friction 0.5" in capsys.readouterr().out
    if name.endswith(".mp4"):
        assert ffmpeg.count_frames_and_secs(tmp_path / name) == (5, pytest.approx(0.25))
    else:
        assert [picture.shape[:2] for picture in imageio.mimread(tmp_path / name)] == [(48, 64)] * 5
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_film_that_fails_leaves_nothing(tmp_path):
    def pictures():
        yield np.zeros((16, 16, 3), np.uint8)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        write_film(pictures(), tmp_path / "a.gif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "the following arguments are required: run, --out"),
        (["nowhere", "--out", "a.mp4"], "cannot read nowhere/run.json: No such file or directory"),
        (["RUN", "--out", "a.avi"], "--out a.avi: must end in .mp4 or .gif"),
        (["RUN", "--out", "no/folder/a.gif"], "must be a file in a folder that exists"),
        (["RUN", "--out", "a.gif", "--step", "5"], "has no weights of step 5; there are: 0, 128, 256"),
        (["RUN", "--out", "a.gif", "--friction", "0"], "--friction 0.0: must be a finite number > 0"),
        (["RUN", "--out", "a.gif", "--size", "64"], "--size 64: must be WIDTHxHEIGHT"),
        (["RUN", "--out", "a.gif", "--size", "65x48"], "must be even numbers between 16 and 4096"),
        (["RUN", "--out", "a.gif", "--max-steps", "0"], "--max-steps 0: must be at least 1"),
        (["RUN", "--out", "a.gif", "--step", "0", "--units", "--size", "32x32"], "no observations were kept at step 0"),
    ],
)
def test_wrong_inputs_are_one_line(words, text, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        code = main([str(folder) if word == "RUN" else word for word in words])
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    assert (code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith("error: ")
    assert text in said.err
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_one_line_says_what_to_install(folder, tmp_path):
    program = "import sys, importlib.util as u; find = u.find_spec; "
    program += "u.find_spec = lambda name: None if name == 'imageio' else find(name); "
    program += "from lop.render import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", program, str(folder), "--out", str(tmp_path / "a.gif")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: lop.render needs imageio: pip install 'lop-rl[video]'\n")
