"""The published code's files: what its scripts read, the way back, and pickles that would run code."""

from __future__ import annotations

import os
import pickle
import pickletools

import numpy as np
import pytest
import torch

import lop.analysis
from lop.analysis.__main__ import main
from lop.analysis.pickles import read_pickle, to_pickle
from lop.analysis.published import export_all, log_of
from lop.analysis.published_import import _tasks, import_log, import_logs
from lop.run.files import RunError
from lop.run.reader import load_policy, read_run
from lop.train import main as train

STEPS = 120 * 2048


@pytest.fixture(scope="module")
def exported(runs_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("data")
    written, left_out = export_all(lop.analysis.load(runs_folder), out)
    assert left_out == []
    assert len(written) == 15
    return out


def test_the_files_lie_where_the_published_configurations_say(exported):
    found = sorted(path.relative_to(exported).as_posix() for path in exported.rglob("*.log"))
    assert found[0] == "ant/bp/std/0.log"
    assert {"ant/cbp/2.log", "ant/l2/1.log", "sant/bp/std/0.log", "sant/cbp/0.log"} <= set(found)


def test_every_key_has_the_dtype_and_shape_that_the_published_scripts_read(exported):
    log = pickle.loads((exported / "ant" / "bp" / "std" / "0.log").read_bytes())  # our own file
    kinds = {key: (type(value).__name__, getattr(value, "dtype", None)) for key, value in log.items()}
    assert kinds == {
        "rets": ("ndarray", np.float64),
        "termination_steps": ("ndarray", np.int64),
        "pol_features_activity": ("Tensor", torch.float32),
        "stable_rank": ("Tensor", torch.float32),
        "action_output": ("list", None),
        "pol_weights": ("ndarray", np.float64),
        "val_weights": ("ndarray", np.float64),
        "action_probs": ("NoneType", None),
        "weight_change": ("ndarray", np.float32),
        "friction": ("float", None),
        "num_updates": ("int", None),
        "previous_change_time": ("int", None),
    }
    assert log["pol_features_activity"].shape == (STEPS // 1000 + 2, 2, 16)
    assert log["stable_rank"].shape == (STEPS // 10_000 + 2,)
    assert log["pol_weights"].shape == log["val_weights"].shape == (STEPS // 1000 + 2, 3)
    assert log["weight_change"].shape == (120,)
    assert (log["friction"], log["num_updates"]) == (-1.0, 120)
    # the expressions of the published plotting scripts
    dormant = (log["pol_features_activity"][1:50000, :, :] <= 0.01).float().mean(axis=(1, 2))
    assert float(dormant[-2]) == pytest.approx(10 / 32)
    assert (log["stable_rank"][1:5000] / 2.56).numpy().shape == (STEPS // 10_000 + 1,)
    assert np.array(log["pol_weights"][:50000, 1]).max() < 0.12


def test_the_numbers_are_those_of_the_run(exported, runs_folder):
    run = read_run(runs_folder / "ant" / "std" / "seed_1")
    log = read_pickle(exported / "ant" / "bp" / "std" / "1.log")
    np.testing.assert_array_equal(log["rets"], run.episodes["return"])
    np.testing.assert_array_equal(log["termination_steps"], run.episodes["global_step"] - 1)
    # at step 5000 the weights are those after update 2 (4096 steps), at 10,240 = update 5 the rank index 1 is written
    assert log["pol_weights"][5, 1] == run.metrics["pol_weights/layer_1"][1]
    assert float(log["stable_rank"][1]) == run.metrics["srank/layer_1"][4]
    np.testing.assert_array_equal(log["pol_features_activity"][7].numpy().reshape(-1) * 1000, run.activity["counts"][6])
    # beyond what the run has done: zeros, as there
    assert not log["pol_weights"][-1].any()


def test_a_weight_is_logged_after_the_update_of_the_same_step(synthetic, tmp_path):
    # update 125 ends with step 256,000: the published code logs at its step 256,000, the 256,001st, what is in force then
    run = read_run(synthetic(updates=130).write(tmp_path))
    table = log_of(run, 130 * 2048, [])["pol_weights"]
    assert table[256, 1] == run.metrics["pol_weights/layer_1"][124]
    assert table[255, 1] == run.metrics["pol_weights/layer_1"][123]


def test_importing_back_gives_the_same_numbers_and_exporting_again_the_same_log(exported, runs_folder, tmp_path):
    folders, left_out = import_logs(exported, tmp_path / "runs")
    assert (len(folders), left_out) == (15, [])
    for name in ("ant/cbp/seed_0", "ant/std/seed_3", "sant/std/seed_2"):
        before, after = read_run(runs_folder / name), read_run(tmp_path / "runs" / name)
        np.testing.assert_array_equal(after.episodes["return"], before.episodes["return"])
        np.testing.assert_array_equal(after.activity["counts"], before.activity["counts"])
        np.testing.assert_array_equal(after.metrics["srank/layer_1"], before.metrics["srank/layer_1"])
        np.testing.assert_array_equal(after.metrics["weight_change"], before.metrics["weight_change"])
        for key in ("pol_weights/layer_1", "val_weights/layer_2"):
            # the last update lies beyond the last thousandth step
            np.testing.assert_array_equal(after.metrics[key][:-1], before.metrics[key][:-1])
    again, left_out = export_all(lop.analysis.load(tmp_path / "runs").where(env="ant"), tmp_path / "again")
    assert left_out == []
    for path in again:
        first, second = (
            read_pickle(root / path.relative_to(tmp_path / "again")) for root in (exported, tmp_path / "again")
        )
        for key in ("rets", "termination_steps", "pol_features_activity", "stable_rank", "weight_change"):
            np.testing.assert_array_equal(np.asarray(first[key]), np.asarray(second[key]))
        for key in ("pol_weights", "val_weights"):
            np.testing.assert_array_equal(first[key][3:], second[key][3:])


def test_the_checkpoint_loads_into_the_published_modules_and_their_adam(tmp_path):
    words = ["env=ant", "algo=std", "wandb.mode=disabled", "progress.interval_s=1000", "ppo.steps_per_update=128"]
    words += [
        "ppo.hidden_sizes=[8,8]",
        "ppo.num_minibatches=2",
        "ppo.num_epochs=1",
        "monitor.buffer_size=50",
        "total_steps=256",
    ]
    assert train([*words, f"runs_dir={tmp_path / 'runs'}"]) == 0
    export_all(lop.analysis.load(tmp_path / "runs"), tmp_path / "data")
    base = tmp_path / "data" / "ant" / "bp" / "std"
    assert sorted(path.name for path in base.iterdir()) == ["0.done", "0.log", "0.pth"]
    assert (base / "0.done").read_text() == "All done!"
    content = torch.load(base / "0.pth", weights_only=True)
    assert content["step"] == 255
    assert list(content["actor"])[:2] == ["log_std", "mean_net.0.weight"]
    nets = [
        torch.nn.Sequential(*[m for h in (8, 8) for m in (torch.nn.LazyLinear(h), torch.nn.ReLU())]) for _ in range(2)
    ]
    nets[0].append(torch.nn.Linear(8, 8)), nets[1].append(torch.nn.Linear(8, 1))
    for net, name, prefix in zip(nets, ("actor", "critic"), ("mean_net.", "v_net."), strict=True):
        net(torch.zeros(1, 111))
        state = {key.removeprefix(prefix): value for key, value in content[name].items() if key.startswith(prefix)}
        net.load_state_dict(state)
    observation = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 111)).astype(np.float32))
    run = read_run(tmp_path / "runs" / "ant" / "std" / "seed_0")
    with torch.no_grad():
        torch.testing.assert_close(nets[0](observation), load_policy(run)(observation))
    parameters = [torch.nn.Parameter(content["actor"]["log_std"]), *nets[0].parameters(), *nets[1].parameters()]
    adam = torch.optim.Adam(parameters)
    adam.load_state_dict(content["opt"])
    # 2 updates of 1 epoch with 2 minibatches
    assert adam.state[parameters[1]]["step"] == 4
    moment = run.checkpoint().tensors["adam/exp_avg_sq.critic.2.bias"]
    np.testing.assert_array_equal(adam.state[parameters[-1]]["exp_avg_sq"].numpy(), moment)


def test_an_import_says_what_it_leaves_alone(exported, tmp_path):
    import_log(exported / "ant" / "l2" / "0.log", tmp_path)
    with pytest.raises(RunError, match="l2/seed_0 is there already"):
        import_log(exported / "ant" / "l2" / "0.log", tmp_path)


class Evil:
    """Loading its pickle would make a folder."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return (os.mkdir, (self.target,))


class EvilStorage(Evil):
    """A tensor's storage that is itself such a pickle: torch's own loader inside a pickle would run it."""

    def __reduce__(self):
        return (torch.storage._load_from_bytes, (pickle.dumps(Evil(self.target)),))


@pytest.mark.parametrize("shape", ["plain", "nested", "storage", "array"])
def test_a_pickle_that_would_run_code_is_refused_and_nothing_runs(shape, tmp_path):
    path, target = tmp_path / "0.log", tmp_path / "made"
    evil = {"plain": Evil(target), "nested": {"rets": [Evil(target)]}, "storage": EvilStorage(target)}
    evil["array"] = np.array([Evil(target)], dtype=object)
    path.write_bytes(pickle.dumps(evil[shape]))
    with pytest.raises(RunError, match="is not loaded"):
        read_pickle(path)
    assert not target.exists()
    if shape == "plain":
        pickle.loads(path.read_bytes())  # the trap is armed
        assert target.exists()


def test_a_pickle_cannot_change_the_functions_that_it_is_given(tmp_path):
    before = torch._utils._rebuild_tensor_v2.__defaults__
    # (None, {"__defaults__": ("changed",)}) as the state of a function
    data = b"ctorch._utils\n_rebuild_tensor_v2\n(N}S'__defaults__'\n(S'changed'\ntstb."
    (tmp_path / "0.log").write_bytes(data)
    assert read_pickle(tmp_path / "0.log").__defaults__ == ("changed",)
    assert torch._utils._rebuild_tensor_v2.__defaults__ == before


@pytest.mark.parametrize(
    "data",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nndarray.__class__\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.",
        b"ctorch\nload\n.",
        b"cpickle\nloads\n.",
        b"\x80\x05garbage",
        b"",
    ],
)
def test_other_globals_and_garbage_are_refused_in_one_line(data, tmp_path):
    path = tmp_path / "0.log"
    path.write_bytes(data)
    with pytest.raises(RunError, match="is not loaded") as caught:
        read_pickle(path)
    assert "\n" not in str(caught.value)


def test_what_the_published_code_writes_is_read(tmp_path):
    path = tmp_path / "0.log"
    log = {"a": np.arange(3.0), "t": torch.arange(4.0).reshape(2, 2), "n": np.float64(2.5), "l": [1, "x", None]}
    for protocol in (2, 4, 5):
        path.write_bytes(pickle.dumps(log, protocol=protocol) if protocol != 2 else to_pickle(log))
        found = read_pickle(path)
        np.testing.assert_array_equal(found["a"], [0, 1, 2])
        torch.testing.assert_close(found["t"], log["t"])
        assert (found["n"], found["l"]) == (2.5, [1, "x", None])


def test_our_logs_name_nothing_that_numpy_1_does_not_know():
    text = "".join(
        str(arg) for _, arg, _ in pickletools.genops(to_pickle({"a": np.zeros(2), "t": torch.zeros(2)})) if arg
    )
    assert "numpy.core.multiarray" in text
    assert "numpy._core" not in text


def test_the_published_task_clock_drifts():
    # changes at the first end more than 2 M steps after the last change: at 2,000,500, then only after 4,000,500
    ends = np.array([1_999_999, 2_000_000, 2_000_500, 4_000_500, 4_000_900])
    assert _tasks(ends).tolist() == [0, 0, 0, 1, 1]


def test_a_log_without_the_series_or_with_wrong_ones_is_refused(tmp_path):
    path = tmp_path / "ant" / "cbp" / "0.log"
    path.parent.mkdir(parents=True)
    for content, text in (
        ([1], "no log of the published code"),
        ({"rets": [1.0], "termination_steps": []}, "1 returns, but 0 ends"),
        ({"rets": ["a"], "termination_steps": [1]}, "rets holds <U1, not numbers"),
    ):
        path.write_bytes(to_pickle(content))
        with pytest.raises(RunError, match=text):
            import_log(path, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_the_command_exports_and_imports(runs_folder, tmp_path, capsys):
    assert main([str(runs_folder), "--export", str(tmp_path / "data"), "--algo", "l2"]) == 0
    assert main([str(tmp_path / "runs"), "--import-logs", str(tmp_path / "data")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("runs/ant/l2/seed_1")
    assert main([str(tmp_path / "runs"), "--import-logs", str(tmp_path / "nothing")]) == 2
    assert capsys.readouterr().err == f"error: no <seed>.log below {tmp_path / 'nothing'}\n"
