"""Send runs to a cluster: `python -m lop.submit env=sant algo=std,ns,l2,cbp,redo seeds=0-29 cluster=gpu`.

Settings of lop.train, of which any may have several values (a,b), and of the cluster:

    cluster=<name or file>    a profile: cfg/cluster/<name>.yaml, or a .yaml file of your own
    cluster.<key>=<value>     one of its settings; cfg/cluster/template.yaml explains them
    dry_run=true              print what would be sent, and send nothing
    --resubmit [id ...]       send what is unfinished of earlier submissions below runs_dir=..., as it was recorded

Runs that are finished, at work or queued are left out. Returns at once; python -m lop.status shows how it goes.

Exit codes: 0 sent, or nothing to do; 1 it could not be sent (debug: a run failed); 2 the command was wrong.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lop.cluster.profile import Profile, choices, expanded, load_profile
from lop.cluster.send import last_profile, points_for, submit, unfinished_points
from lop.cluster.sweep import Point, check_folders
from lop.run.command import shorten_warnings, wrong
from lop.run.config import ConfigError
from lop.run.files import RunError

RESUBMIT, DRY_RUN = "--resubmit", "dry_run"


def run(words: list[str]) -> int:
    """Sends what the words say; returns the exit code. Errors: ConfigError, RunError."""
    flags = [word for word in words if word.startswith("-")]
    if unknown := set(flags) - {RESUBMIT}:
        raise ConfigError(f"{min(unknown)}: no such option; there are {RESUBMIT} and --help")
    dry_run = truth([word for word in words if word.startswith(f"{DRY_RUN}=")])
    cluster = [word for word in words if word.startswith(("cluster=", "cluster.", "+cluster.", "++cluster."))]
    rest = [word for word in words if word not in flags + cluster and not word.startswith(f"{DRY_RUN}=")]
    if flags:
        points, profile = resubmission(rest, cluster)
    else:
        profile = load_profile([word.lstrip("+") for word in cluster])
        points = points_for(rest, profile)
    return submit(points, profile, words, dry_run)


def resubmission(words: list[str], cluster: list[str]) -> tuple[list[Point], Profile]:
    """What `--resubmit` sends: words may be runs_dir=... and ids of submissions."""
    folders = [word.partition("=")[2] for word in words if word.startswith("runs_dir=")]
    ids = [word for word in words if "=" not in word]
    wrong = [word for word in words if "=" in word and not word.startswith("runs_dir=")]
    if wrong:
        raise ConfigError(f"{wrong[0]}: {RESUBMIT} runs what was recorded; it takes runs_dir=, cluster= and ids")
    runs_dir = Path(expanded(folders[-1] if folders else "runs")).absolute()
    points = unfinished_points(runs_dir, ids)
    profile = load_profile(cluster) if cluster else last_profile(runs_dir)
    for point in points if cluster else []:
        point.config.device = "cuda" if profile.has_gpu else "cpu"
    check_folders(points)
    return points, profile


def truth(words: list[str]) -> bool:
    """What dry_run=... says; false if nothing does."""
    value = words[-1].partition("=")[2].lower() if words else "false"
    if value not in ("true", "false", "1", "0"):
        raise ConfigError(f"{words[-1]}: must be true or false")
    return value in ("true", "1")


def main(words: list[str] | None = None) -> int:
    words = sys.argv[1:] if words is None else words
    if any(word in ("--help", "-h") for word in words):
        print(f"{__doc__}\nProfiles: {', '.join(choices())}. Settings of a run: python -m lop.train --help")
        return 0
    shorten_warnings()
    try:
        return run(words)
    except (ConfigError, RunError) as error:
        return wrong(error, 2 if isinstance(error, ConfigError) else 1)


if __name__ == "__main__":
    sys.exit(main())
