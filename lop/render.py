"""A run's policy as a film: `python -m lop.render runs/ant/cbp/seed_0 --out ant.mp4 [--step N] [--friction F] [--units]`.

The policy's means act (or with --stochastic draws from it), in the environment that the run was trained in, at the friction
that it had at that step unless another is given. Works without a display (EGL or OSMesa). --units shows the hidden units
below the picture: firing, silent, dead, at risk by their margins over the run's last observations at that step.

.mp4 needs the extra `[video]` (imageio and an ffmpeg of its own); .gif does as well.
Exit codes: 0; 2 the command was wrong, or the run cannot be read or drawn.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lop.analysis.unit_strip import UnitStrip
from lop.envs.model import STEP_SECONDS
from lop.envs.render import OffscreenCamera
from lop.evaluate import environments_of, friction_at
from lop.run.command import INTERRUPTED, Parser, wrong
from lop.run.files import RunError
from lop.run.progress import number
from lop.run.reader import Run, policy_from, read_run, weights_at
from lop.run.seeds import MAX_SEED
from lop.run.streams import stream

MAX_SIZE = 4096
SUFFIXES = (".mp4", ".gif")
# a GIF counts in hundredths of a second, and browsers slow one down below two of them
GIF_SECONDS = 0.05
HELP_VIDEO = "lop.render needs imageio: pip install 'lop-rl[video]'"


@dataclass
class Scene:
    """What is filmed: a policy of a run at a step, at a friction."""

    run: Run
    step: int
    tensors: dict[str, np.ndarray]
    friction: float

    @property
    def policy(self) -> torch.nn.Sequential:
        """The policy's mean."""
        return policy_from(self.tensors)


def scene_of(folder: str | Path, step: int | None = None, friction: float | None = None) -> Scene:
    """The scene of a run folder; step: of a snapshot or of the checkpoint, the latest by default. Errors: RunError."""
    run = read_run(folder)
    step, tensors = weights_at(run, step)
    return Scene(run, step, tensors, friction_at(run, step) if friction is None else friction)


@torch.inference_mode()
def frames(
    scene: Scene,
    *,
    episodes: int = 1,
    max_steps: int = 1000,
    seed: int = 0,
    width: int = 640,
    height: int = 480,
    stochastic: bool = False,
    units: bool = False,
) -> Iterator[np.ndarray]:
    """Pictures [height', width, 3] uint8, one an env step (0.05 s), of `episodes` episodes and at most `max_steps` steps.

    units: the strip of hidden units below each picture. Errors: RunError without OpenGL, or without observations for units.
    """
    environments = environments_of(scene.run, 1, scene.friction, seed)
    policy = scene.policy
    strip = strip_of(scene, policy, width) if units else None
    std = np.exp(scene.tensors["log_std"]) if stochastic else None
    observation = np.zeros((1, environments.obs_dim), np.float32)
    with contextlib.closing(_camera(environments, width, height)) as camera:
        left = episodes
        for t in range(max_steps):
            model, data = environments.physics.materialize(0)
            observation[:, : environments.num_live] = environments.observation[0]
            hidden, actions = _forward(policy, torch.from_numpy(observation))
            picture = camera.picture(model, data)
            yield picture if strip is None else strip.below(picture, hidden)
            if std is not None:
                actions = actions + std * stream(seed, "evaluation_noise", t).standard_normal(actions.shape)
            environments.step(np.clip(actions, -1, 1)[None])
            left -= len(environments.finished) if environments.any_done else 0
            if left <= 0:
                return


def _camera(environments: Any, width: int, height: int) -> OffscreenCamera:
    try:
        return OffscreenCamera(environments.physics.materialize(0)[0], "track", width, height)
    except RuntimeError as error:
        raise RunError(str(error)) from error


def _forward(policy: torch.nn.Sequential, x: torch.Tensor) -> tuple[list[np.ndarray], np.ndarray]:
    """Pre-activations [H] of every hidden layer for one observation, and the actions [1, A]."""
    hidden = []
    for module in policy:
        x = module(x)
        hidden.append(x)
    return [z[0].numpy() for z in hidden[:-1:2]], hidden[-1].numpy()


def strip_of(scene: Scene, policy: torch.nn.Sequential, width: int) -> UnitStrip:
    """The units of a scene, dead and at risk by its own observations. Errors: RunError if none were kept."""
    epsilon = float(scene.run.configuration.get("monitor", {}).get("epsilon", 0.1))
    return UnitStrip(policy, observations_of(scene, policy[0].in_features), epsilon, width)


def observations_of(scene: Scene, num_inputs: int) -> np.ndarray:
    """The observations [N, D] that the monitor had at the scene's step. Errors: RunError if none were kept."""
    live = scene.tensors.get("observations")
    if live is None:
        live = next((array for name, array in scene.tensors.items() if name.endswith("actor/window.args.0")), None)
    if live is None or not len(live):
        raise RunError(f"{scene.run.folder}: no observations were kept at step {scene.step}, which --units needs")
    padded = np.zeros((len(live), num_inputs), np.float32)
    padded[:, : live.shape[1]] = live
    return padded


def write_film(pictures: Iterator[np.ndarray], path: Path) -> int:
    """Writes an .mp4 or .gif at real time; returns how many pictures. A film that fails is not left behind.

    Errors: RunError; ImportError, in one line, without the extra.
    """
    check_extra(path)
    import imageio.v2 as imageio

    options: dict[str, Any] = {"duration": 1000 * GIF_SECONDS, "loop": 0}
    if path.suffix == ".mp4":
        # pixels in pairs, so that every player shows it; no resizing to multiples of 16
        options = {"fps": round(1 / STEP_SECONDS), "codec": "libx264", "quality": 8, "macro_block_size": 2}
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    count = 0
    try:
        with imageio.get_writer(temporary, **options) as writer:
            for picture in pictures:
                writer.append_data(picture)
                count += 1
        temporary.replace(path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return count


def check_extra(path: Path) -> None:
    """Errors: ImportError, in one line, if what a film of this kind needs is not installed."""
    needs = ("imageio", "imageio_ffmpeg") if path.suffix == ".mp4" else ("imageio",)
    if any(importlib.util.find_spec(module) is None for module in needs):
        raise ImportError(HELP_VIDEO)


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m lop.render", description="Film a run's policy.")
    parser.add_argument("run", help="run folder, for instance runs/ant/cbp/seed_0")
    parser.add_argument("--out", required=True, metavar="FILE", help="film to write: .mp4 or .gif")
    parser.add_argument("--step", type=int, help="of a snapshot or of the checkpoint; the latest by default")
    parser.add_argument("--friction", type=float, help="of every geom; by default what the run had at that step")
    parser.add_argument("--episodes", type=int, default=1, help="how many, default 1")
    parser.add_argument("--max-steps", type=int, default=1000, help="of the film, 20 a second, default 1000")
    parser.add_argument("--seed", type=int, default=0, help="of the starting pose (and of drawn actions), default 0")
    parser.add_argument(
        "--size", default="640x480", metavar="WxH", help="of the picture, even numbers, default 640x480"
    )
    parser.add_argument("--stochastic", action="store_true", help="draw actions instead of playing their means")
    parser.add_argument("--units", action="store_true", help="show the hidden units: firing, silent, at risk, dead")
    given = parser.parse_args(words)
    out = Path(given.out)
    if out.suffix not in SUFFIXES:
        parser.error(f"--out {given.out}: must end in {' or '.join(SUFFIXES)}")
    if out.is_dir() or not out.parent.is_dir():
        parser.error(f"--out {given.out}: must be a file in a folder that exists")
    if given.friction is not None and not 0 < given.friction < math.inf:
        parser.error(f"--friction {given.friction}: must be a finite number > 0")
    for name in ("episodes", "max_steps"):
        if getattr(given, name) < 1:
            parser.error(f"--{name.replace('_', '-')} {getattr(given, name)}: must be at least 1")
    if not 0 <= given.seed <= MAX_SEED:
        parser.error(f"--seed {given.seed}: must be between 0 and {MAX_SEED}")
    given.width, given.height = _size(parser, given.size)
    return given


def _size(parser: Parser, text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        parser.error(f"--size {text}: must be WIDTHxHEIGHT, for instance 640x480")
    for value in (int(width), int(height)):
        if value % 2 or not 16 <= value <= MAX_SIZE:
            parser.error(f"--size {text}: must be even numbers between 16 and {MAX_SIZE}")
    return int(width), int(height)


def main(words: list[str] | None = None) -> int:
    given = arguments(words)
    torch.set_num_threads(1)
    try:
        check_extra(Path(given.out))
        scene = scene_of(given.run, given.step, given.friction)
        pictures = frames(
            scene,
            episodes=given.episodes,
            max_steps=given.max_steps,
            seed=given.seed,
            width=given.width,
            height=given.height,
            stochastic=given.stochastic,
            units=given.units,
        )
        count = write_film(pictures, Path(given.out))
    except (RunError, ImportError) as error:
        return wrong(error)
    except KeyboardInterrupt:
        return wrong("interrupted", INTERRUPTED)
    seconds = number(count * STEP_SECONDS)
    print(f"{given.out}: {count} pictures, {seconds} s, step {scene.step:,}, friction {scene.friction:.4g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
