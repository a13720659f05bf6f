"""Whatever is wrong is said in one line, with the right exit code, and nothing is made or changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lop.run.owner import claim
from lop.train import main

CONFIGURATION, DISK = 2, 1


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder: whatever a wrong command makes, it makes here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return tmp_path


@pytest.fixture
def refused(here, capsys, lop_train):
    """refused(code, text, *words, env=, algo=): the command ends with one line and leaves every file as it was."""

    def check(code: int, text: str, *words: str, env: str = "ant", algo: str = "std") -> None:
        before = files(here)
        assert main(lop_train.words(env, algo, *words)) == code
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("error: ")
        assert said.err.count("\n") == 1
        assert text in said.err
        assert files(here) == before

    return check


@pytest.fixture
def run(here, lop_train):
    """The folder of a finished run of ant and std, seed 0."""
    assert main(lop_train.words("ant", "std")) == 0
    return here / "runs" / "ant" / "std" / "seed_0"


def files(root: Path) -> dict[str, bytes | None]:
    """Everything below root: contents of files, None for folders."""
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["foo"], "'foo' is not a setting; write key=value"),
        (["env=antt"], "env=antt: must be one of ant, sant"),
        (["algo=adam"], "algo=adam: must be one of cbp, l2, ns, redo, std"),
        (["algo=std,cbp"], "one process trains one of them, lop.submit takes several"),
        (["preset=old"], "preset=old: must be one of fixed, reference"),
        (["ppo.lr=1e-3"], "ppo.lr: no such setting (there are ppo.learning_rate"),
        (["ppo.learning_rate=abc"], "ppo.learning_rate=abc: must be a number"),
        (["+new=1"], "new: no such setting"),
        (["algo.name=mine"], "name=... tells variations apart"),
        (["ppo.num_minibatches=7"], "ppo.num_minibatches=7 does not divide ppo.steps_per_update=256"),
        (["num_envs=3"], "num_envs=3 does not divide ppo.steps_per_update=256"),
        (["ppo.hidden_sizes=[]"], "ppo.hidden_sizes=[]: needs one width a layer"),
        (["total_steps=-1"], "total_steps=-1: must be a whole number"),
        (["total_steps=10"], "total_steps=10: less than one update of 256 steps"),
        (["seed=1", "seeds=0-2"], "give one of them"),
        (["seeds=3-1"], "seeds=3-1: must be whole numbers"),
        (["seed=-1"], "seed=-1: must be a whole number"),
        (["env=sant", "env.friction_low=3"], "needs 0 < low <= high"),
        (["env=sant", "env.friction=1"], "tasks set the friction of sant"),
        (["departures.time_limit=no"], "must be one of fixed, reference"),
        (["device=tpu"], "device=tpu: must be cpu, cuda or cuda:<n>"),
        (["resume=maybe"], "resume=maybe: must be one of auto, never, must"),
        (["name=a b"], "name='a b': at most 100 letters, digits"),
        (["runs_dir="], "runs_dir is empty"),
        (["wandb.mode=sometimes"], "wandb.mode=sometimes: must be one of auto, online, offline, disabled"),
        (["hydra.run.dir=x"], "Hydra's own settings cannot be set here"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_setting_makes_nothing(words, text, refused):
    refused(CONFIGURATION, text, *words)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "cannot read the friction table table.json: No such file or directory"),
        ("0.1 0.2", "the friction table table.json is not JSON"),
        ('{"seeds": 3}', "must be a list of lists"),
        ("[[0.1, -1]]", "must hold finite numbers > 0, got -1 (seed 0, task 1)"),
        ("[[0.1, 0.2, 0.3]]", "2048 steps need 4 tasks, the friction table has 3 for seed 0"),
    ],
)
def test_a_friction_table_that_does_not_serve(content, text, here, refused):
    if content is not None:
        (here / "table.json").write_text(content)
    refused(CONFIGURATION, text, "env.frictions_file=table.json", env="sant")


def test_a_friction_table_without_the_seed(here, refused):
    (here / "table.json").write_text(json.dumps([[0.1] * 9, [0.2] * 9]))
    text = "env.frictions_file=table.json: the friction table has seeds 0 to 1, got seed 2"
    refused(CONFIGURATION, text, "env.frictions_file=table.json", "seeds=0-2", env="sant")


def test_the_published_table_has_seeds_below_100(refused):
    text = "env.frictions_file=published: the friction table has seeds 0 to 99, got seed 100"
    refused(CONFIGURATION, text, "preset=reference", "seeds=99,100", env="sant")


def test_a_friction_table_that_changed_since_the_run_began(here, capsys, lop_train):
    (here / "table.json").write_text(json.dumps([[0.1] * 9]))
    words = lop_train.words("sant", "std", "env.frictions_file=table.json")
    assert main(words) == 0
    (here / "table.json").write_text(json.dumps([[0.1, 0.7, *[0.1] * 7]]))
    before = files(here)
    capsys.readouterr()
    assert main(words) == CONFIGURATION
    assert (
        "a run with other frictions: task 1 had friction 0.1, now 0.7; bring back the table" in capsys.readouterr().err
    )
    assert files(here) == before


def test_networks_that_no_machine_holds(refused):
    widths = ",".join(["65536"] * 9)
    refused(CONFIGURATION, "for 10 seed(s) needs at least 13,", f"ppo.hidden_sizes=[{widths}]", "seeds=0-9")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(refused):
    refused(CONFIGURATION, "device=cuda: this machine has 0 CUDA devices, use device=cpu", "device=cuda")


def test_a_wandb_mode_from_outside_that_does_not_exist(refused, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    refused(CONFIGURATION, "WANDB_MODE: wandb mode 'sometimes': allowed are", "wandb.mode=auto")


def test_resume_must_without_a_run(refused):
    refused(CONFIGURATION, "resume=must: there is no run in runs/ant/std/seed_0", "resume=must")


def test_resume_never_on_a_run_asks_for_another_name(run, refused):
    text = "resume=never: runs/ant/std/seed_0 exists already; give this run another name=..."
    refused(CONFIGURATION, text, "resume=never", "seeds=1,0")


def test_a_folder_that_holds_another_configuration(run, refused):
    text = (
        "runs/ant/std/seed_0 holds a run of another configuration: ppo.discount: 0.99 before, 0.9 now; set these back"
    )
    refused(CONFIGURATION, text, "ppo.discount=0.9", "seeds=1,0")


def test_fewer_steps_than_before_are_another_configuration(run, refused):
    refused(CONFIGURATION, "total_steps: 2048 before, 1024 now", "total_steps=1024")


def test_a_folder_that_differs_in_everything_names_the_first(run, refused):
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**content, "configuration": {}}))
    refused(CONFIGURATION, " more; set these back or give this run another name=...")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "run.json is damaged"),
        (b"{not json", "run.json is damaged"),
        (b"[1]", "run.json is damaged"),
        (b'{"format": 99}', "run.json: format 99, this program reads 1"),
        (b'{"format": 1, "layers": [1], "configuration": 3}', "run.json is damaged: it has no configuration"),
    ],
)
def test_a_run_json_that_is_not_ours(content, text, here, refused):
    folder = here / "runs" / "ant" / "std" / "seed_0"
    folder.mkdir(parents=True)
    (folder / "run.json").write_bytes(content)
    refused(DISK, text, "seeds=1,0")


def test_a_run_json_that_is_a_folder(here, refused):
    (here / "runs" / "ant" / "std" / "seed_0" / "run.json").mkdir(parents=True)
    refused(DISK, "cannot read runs/ant/std/seed_0/run.json: Is a directory")


def test_a_checkpoint_without_its_run_json(run, refused):
    (run / "run.json").unlink()
    refused(DISK, "runs/ant/std/seed_0 holds a checkpoint but no run.json: bring it back")


def test_both_checkpoints_damaged(run, refused):
    for name in ("checkpoint", "checkpoint.previous"):
        data = bytearray((run / name).read_bytes())
        data[len(data) // 2] ^= 1
        (run / name).write_bytes(data)
    refused(DISK, "no usable checkpoint: runs/ant/std/seed_0/checkpoint: checksum does not match", "seeds=1,0")


def test_rows_that_the_checkpoint_counts_on_are_gone(run, refused):
    (run / "metrics.jsonl").write_bytes(b"")
    refused(DISK, "metrics.jsonl has 0 bytes, but the checkpoint counts on", "seeds=1,0")


def test_a_folder_that_somebody_alive_owns(here, refused):
    owner = claim(here / "runs" / "ant" / "std" / "seed_1")
    try:
        refused(DISK, f"runs/ant/std/seed_1 belongs to pid {os.getpid()} on", "seeds=0,1")
    finally:
        owner.release("stopped")


@pytest.mark.parametrize("runs", ["/proc/lop", "/dev/null/runs", "file/runs"])
def test_a_place_where_no_folder_can_be_made(runs, here, refused):
    (here / "file").write_text("in the way")
    refused(DISK, f"cannot make the folder {runs}/ant/std/seed_0: ", f"runs_dir={runs}")


def test_a_path_that_is_too_long(here, refused):
    refused(DISK, "File name too long", f"runs_dir={'x' * 300}")


def test_a_folder_that_must_not_be_looked_into(here, refused, monkeypatch):
    (here / "runs" / "ant" / "std" / "seed_0").mkdir(parents=True)

    def denied(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    refused(DISK, "cannot look into runs/ant/std/seed_0: Permission denied")


def test_a_full_disk_at_the_start(here, refused, monkeypatch):
    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    refused(DISK, "No space left on device", "seeds=0,1")


@pytest.mark.parametrize(
    ("code", "words", "text"),
    [
        (CONFIGURATION, ["env=antt"], "error: env=antt: must be one of ant, sant\n"),
        (CONFIGURATION, ["seeds=[0,0]"], "error: seeds=[0,0]: every seed must be given once\n"),
        (
            DISK,
            ["runs_dir=/proc/lop"],
            "error: cannot make the folder /proc/lop/ant/std/seed_0: No such file or directory\n",
        ),
    ],
)
def test_the_command_itself(code, words, text, here):
    command = [sys.executable, "-m", "lop.train", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", text)
    assert files(here) == {}


@pytest.mark.parametrize("limit_bytes", [100, 30_000])
def test_a_disk_that_fills_up(limit_bytes, here, lop_train):
    """100 bytes: not even the mark of the owner; 30,000: the run begins, and a later file does not fit."""
    command = [sys.executable, "-m", "lop.train", *lop_train.words("ant", "std")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {limit_bytes}))"
    starter = [sys.executable, "-c", f"{limited}; import os, sys; os.execv(sys.executable, {command!r})"]
    done = subprocess.run(starter, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if "steps/s" not in line]
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert "cannot write runs/ant/std/seed_0/" in errors[0]
    assert errors[0].endswith("File too large")
    if limit_bytes == 100:
        assert files(here) == {}
    else:
        assert "seed_0: FAILED: cannot write" in done.stdout
        # with room again the same command goes on
        assert main(lop_train.words("ant", "std")) == 0
