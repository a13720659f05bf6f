"""Words to configurations, all of them checked before anything is sent."""

from __future__ import annotations

import pytest

from lop.cluster.sweep import check_folders, expand
from lop.run.config import ConfigError


def test_the_papers_sweep():
    points = expand(["env=sant", "algo=std,ns,l2,cbp,redo", "seeds=0-29"])
    assert [point.label for point in points] == ["sant/std", "sant/ns", "sant/l2", "sant/cbp", "sant/redo"]
    assert all(point.config.seeds == list(range(30)) for point in points)
    assert [point.words for point in points][2] == ("algo=l2",)
    assert points[3].run(7) == "sant/cbp/seed_7"


def test_seeds_are_members_and_no_sweep():
    (point,) = expand(["seeds=0,2,4"])
    assert point.config.seeds == [0, 2, 4]
    (point,) = expand(["seed=3"])
    assert point.config.seeds == [3]


@pytest.mark.parametrize("sweep", ["1,2", "choice(1,2)", "range(1,3)"])
def test_hydras_ways_of_writing_a_sweep(sweep):
    points = expand([f"num_envs={sweep}", "name=e${num_envs}"])
    assert [(point.config.num_envs, point.config.name) for point in points] == [(1, "e1"), (2, "e2")]


def test_a_list_is_one_value():
    (point,) = expand(["ppo.hidden_sizes=[10,20]"])
    assert point.config.ppo.hidden_sizes == [10, 20]


def test_what_the_words_say_comes_before_what_the_profile_says():
    (point,) = expand(["wandb.mode=disabled"], defaults=["wandb.mode=offline", "snapshots=7"])
    assert (point.config.wandb.mode, point.config.snapshots) == ("disabled", 7)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["algo=std,sdt"], "algo=sdt: must be one of"),
        (["algo=std,cbp", "ppo.num_epochs=3,0", "name=e${ppo.num_epochs}"], "algo=std ppo.num_epochs=0: "),
        (["env=ant", "ppo.lr=3"], "ppo.lr: no such setting"),
        (["algo=std,std"], "given twice"),
        (["ppo.num_epochs=3,5"], r"share the folder ant/std: add 'name=num_epochs_\$\{ppo.num_epochs\}'"),
        (["seed=1,2"], "seeds=..."),
        (["nonsense"], "is not a setting"),
        (["ppo.num_epochs=range(1,9)", "name=e${ppo.num_epochs}"], "more than 3 configurations"),
    ],
)
def test_a_wrong_point_is_named_in_one_line(words, told, monkeypatch):
    monkeypatch.setattr("lop.cluster.sweep.MAX_POINTS", 3)
    with pytest.raises(ConfigError, match=told) as error:
        expand(words)
    assert "\n" not in str(error.value)


def test_the_advised_name_is_accepted():
    points = expand(["ppo.num_epochs=3,5", "name=num_epochs_${ppo.num_epochs}"])
    assert [point.label for point in points] == ["ant/std-num_epochs_3", "ant/std-num_epochs_5"]


def test_what_the_trainer_would_refuse_is_refused_before(tmp_path):
    table = tmp_path / "table.json"
    table.write_text("[[1.0]]")
    points = expand(["env=sant", f"env.frictions_file={table}", "seeds=0-3", f"runs_dir={tmp_path}/runs"])
    with pytest.raises(ConfigError, match="frictions_file"):
        check_folders(points)
    folder = tmp_path / "runs" / "ant" / "std" / "seed_0"
    folder.mkdir(parents=True)
    (folder / "checkpoint").write_bytes(b"")
    with pytest.raises(ConfigError, match="holds a checkpoint but no"):
        check_folders(expand([f"runs_dir={tmp_path}/runs"]))
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["checkpoint", "table.json"]
