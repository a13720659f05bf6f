"""Options that the commands share, under the names of the published code."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path

import torch

from lop.lab.study import study_parser, whole
from lop.lab.symmetry.settings import OUTPUT, Settings
from lop.run.command import ConfigError, Parser
from lop.run.files import RunError
from lop.run.seeds import parse_seeds

DEFAULTS = Settings()


def command_parser(command: str, description: str) -> Parser:
    """The parser of `python -m lop.lab.symmetry <command>`, with --out."""
    parser = study_parser(f"symmetry {command}", description, seed=None)
    parser.set_defaults(out=Path("lab") / "symmetry" / command)
    return parser


def add_settings(parser: Parser) -> None:
    """Options for every field of Settings, and where to compute."""
    add = parser.add_argument
    add("--num-hidden-layers", type=whole(1, 100), default=DEFAULTS.num_hidden_layers, help="of the MLP, ReLU between")
    add("--hidden-dim", type=whole(1, 8192), default=DEFAULTS.hidden_dim, help="units of a hidden layer")
    add("--learning-rate", type=positive, default=DEFAULTS.learning_rate, help="of AdamW, weight decay 0")
    add("--epochs", type=whole(1, 1_000_000), default=DEFAULTS.epochs, help="λ grows over all of them")
    add(
        "--points", type=whole(10, 100_000_000), default=DEFAULTS.points, help="60 %% train, 20 %% validate, 20 %% test"
    )
    add("--batch-size", type=whole(1, 100_000_000), default=DEFAULTS.batch_size, help="points in a batch")
    rotations = "a pair of rotations for each batch, or for each point as in the published code"
    add("--rotations", choices=("batch", "point"), default=DEFAULTS.rotations, help=rotations)
    early = "stop after N epochs without a better validation loss, keep the best weights; 0: train all epochs"
    add("--early-stop", type=whole(0, 1_000_000), default=DEFAULTS.early_stop, metavar="N", help=early)
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute")
    add("--threads", type=whole(1, 1024), default=1, help="of torch")


def settings_of(given: argparse.Namespace) -> Settings:
    """The Settings that were asked for. Errors: RunError where --device has no such device."""
    if given.device == "cuda" and not torch.cuda.is_available():
        raise RunError("--device cuda: torch sees no such device here; use --device cpu")
    return Settings(**{name: getattr(given, name) for name in Settings.__dataclass_fields__})


def add_symmetry(parser: Parser) -> None:
    """--symmetry-layer and --lambda-sym-max of one training."""
    help_layer = "where the symmetry loss looks: -1 the output, 1 ... n a hidden layer, none"
    parser.add_argument("--symmetry-layer", type=layer, default=OUTPUT, metavar="LAYER", help=help_layer)
    help_lambda = "weight of the symmetry loss in the last epoch; it grows from 0 along a cosine"
    parser.add_argument("--lambda-sym-max", type=not_negative, default=1.0, metavar="λ", help=help_lambda)


def require_layer(parser: Parser, layer: int | None, num_hidden_layers: int, option: str = "--symmetry-layer") -> None:
    """Ends the program if the network has no such layer."""
    if layer is not None and layer > num_hidden_layers:
        parser.error(f"{option} {layer}: must be -1 (output), none, or from 1 to {num_hidden_layers} (hidden layers)")


def layer(text: str) -> int | None:
    """A type for add_argument: -1, 1, 2, ... or none."""
    if text.lower() == "none":
        return None
    if re.fullmatch(r"-1|[1-9]\d{0,3}", text):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text}: must be -1 (output), 1, 2, ... (a hidden layer) or none")


def positive(text: str) -> float:
    """A type for add_argument: a finite number > 0."""
    return _number(text, lambda value: value > 0, "> 0")


def not_negative(text: str) -> float:
    """A type for add_argument: a finite number >= 0."""
    return _number(text, lambda value: value >= 0, ">= 0")


def _number(text: str, allowed: Callable[[float], bool], rule: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not allowed(value):
        raise argparse.ArgumentTypeError(f"{text}: must be a finite number {rule}")
    return value


def seeds_of(parser: Parser, texts: list[str]) -> list[int]:
    """The seeds of --seeds 42 43, 1-100 or 1,2: each once, in order. Ends the program where they are wrong."""
    try:
        return parse_seeds(",".join(texts), "--seeds")
    except ConfigError as error:
        parser.error(str(error))


def layers_of(parser: Parser, texts: list[str], num_hidden_layers: int) -> list[int]:
    """The symmetry layers of --layers 1-6 -1, or `all`. Ends the program where they are wrong."""
    if texts == ["all"]:
        return [*range(1, num_hidden_layers + 1), OUTPUT]
    found: list[int] = []
    for text in texts:
        match = re.fullmatch(r"([1-9]\d{0,3})-([1-9]\d{0,3})", text)
        first, last = (int(match[1]), int(match[2])) if match else (0, -1)
        if not (first <= last if match else re.fullmatch(r"-1|[1-9]\d{0,3}", text)):
            parser.error(f"--layers {' '.join(texts)}: must be hidden layers (1 2), ranges (1-6), -1 (output) or all")
        found += range(first, last + 1) if match else [int(text)]
    for number in found:
        require_layer(parser, number, num_hidden_layers, "--layers")
    return list(dict.fromkeys(found))
