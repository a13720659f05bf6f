"""Trackers: copies of a run's metrics elsewhere. The local store is the truth, and a tracker may fail without harm.

`WandbTracker` sends rows to wandb: online when a key and a connection exist, else into `<run folder>/wandb`, from
where `wandb sync` sends them. `wandb.json` beside it keeps the run's id and the last step sent, so that a resumed run
goes on as the same one and rows computed again are not sent twice. It never holds a key.
"""

from __future__ import annotations

import contextlib
import json
import netrc
import os
import re
import secrets
import socket
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from lop.run.files import RunError, disk

SIDECAR = "wandb.json"
VERSION = 1
MODES = ("online", "offline", "disabled")
CONNECT_S = 3.0
FORMER_HOST = "api.wandb.ai"  # keys saved by older versions of wandb stand under it, and 0.31 still finds them


class Tracker(Protocol):
    """What the training loop asks of a tracker."""

    def log(self, row: dict[str, Any]) -> None:
        """Takes one row with its global_step."""

    def finish(self, status: str) -> None:
        """Ends the tracking: "finished", "stopped" or "failed"."""


class WandbTracker:
    """One wandb run per run folder, several in one process. After a failure: one warning, then silence."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        group: str,
        config: dict[str, Any],
        project: str = "lop",
        entity: str | None = None,
        mode: str | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        """group: "<env>/<algo>[-name]"; config: with the seed; mode: one of MODES, None: as WANDB_MODE or a key says."""
        self._folder = Path(folder)
        self._run: Any = None
        self._mode: Any = asked_mode(mode)
        if self._mode == "disabled":
            return
        about = {"group": group, "config": config, "project": project, "entity": entity, "tags": list(tags)}
        self._guarded(lambda: self._start(about))

    def log(self, row: dict[str, Any]) -> None:
        """Sends a row of scalars, unless its global_step was sent before."""
        if self._run is not None and row["global_step"] > self._sidecar["last_step"]:
            self._guarded(lambda: self._send(row))

    def finish(self, status: str) -> None:
        """Ends the wandb run; a failed one is shown as such. Finishing twice does nothing."""
        if self._run is not None:
            self._guarded(lambda: self._end(status))
        self._run = None

    def _start(self, about: dict[str, Any]) -> None:
        import wandb

        self._mode = self._mode or default_mode()
        self._sidecar = read_sidecar(self._folder) or _new_sidecar(about["group"])
        self._save()
        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,  # a remote's address may hold a token
            disable_code=True,
            x_disable_stats=True,
            # wandb-core dies with us and loses what it has not flushed (15 s by default)
            x_transaction_log_flush_interval=1.0,
            finish_timeout=60.0,  # what is not sent by then stays on the disk, for `wandb sync`
        )
        self._run = wandb.init(
            **about,
            id=self._sidecar["id"],
            name=f"{about['group']}/{self._folder.name}",
            dir=self._folder,
            mode=self._mode,
            # offline a resume is a new folder with the same id, merged by `wandb sync`
            resume="allow" if self._mode == "online" else None,
            reinit="create_new",
            settings=settings,
        )
        # processes started from here would talk to our wandb-core, and die with it
        os.environ.pop("WANDB_SERVICE", None)
        self._run.define_metric("global_step")
        self._run.define_metric("*", step_metric="global_step")

    def _send(self, row: dict[str, Any]) -> None:
        # noted before it is sent: a row may be lost with the process, but never sent twice
        self._sidecar["last_step"] = int(row["global_step"])
        self._save()
        self._run.log(row)

    def _end(self, status: str) -> None:
        self._run.summary["status"] = status
        self._run.finish(exit_code=int(status == "failed"))

    def _save(self) -> None:
        # not fsynced, once an update: what a lost machine forgets here is at worst a row sent twice
        path = self._folder / SIDECAR
        temporary = path.with_name(path.name + ".tmp")
        with disk("write", path):
            temporary.write_text(json.dumps(self._sidecar) + "\n")
            os.replace(temporary, path)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            self._run = None
            if isinstance(error, ConnectionError):
                _forget_service()
            reason = _without_key(" ".join(str(error).split()) or type(error).__name__)
            warnings.warn(f"wandb is off for {self._folder}: {reason}. Training goes on.", stacklevel=3)


def asked_mode(mode: str | None) -> str | None:
    """One of MODES, from `mode` or else from WANDB_MODE; None ("auto") if neither says. Errors: RunError."""
    asked = os.environ.get("WANDB_MODE") or None if mode in (None, "auto") else mode
    if asked not in (None, *MODES):
        raise RunError(f"{'' if mode == asked else 'WANDB_MODE: '}wandb mode {asked!r}: allowed are {', '.join(MODES)}")
    return asked


def read_sidecar(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """id and last_step of the folder's wandb run; None if there is none that can be read."""
    try:
        content = json.loads((Path(folder) / SIDECAR).read_bytes())
        return {"format": VERSION, "id": str(content["id"]), "last_step": int(content["last_step"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def default_mode() -> str:
    """ "online" if there is a key for wandb's host and the host answers, else "offline"."""
    import wandb

    base = urllib.parse.urlsplit(os.environ.get("WANDB_BASE_URL") or wandb.Settings().base_url)
    # without a connection wandb.init itself takes 31 s to 90 s to find out
    return "online" if has_key(base.netloc) and _answers(base) else "offline"


def has_key(host: str) -> bool:
    """Whether a key for this host of wandb's is kept where wandb looks for it."""
    return bool(os.environ.get("WANDB_API_KEY")) or _netrc_has(host) or _netrc_has(FORMER_HOST)


def _forget_service() -> None:
    """wandb-core is gone (Slurm's SIGTERM reaches it too): else wandb prints a traceback when Python ends."""
    import wandb

    with contextlib.suppress(Exception):
        wandb.teardown()


def _netrc_has(host: str) -> bool:
    named = os.environ.get("NETRC")
    for path in [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            if netrc.netrc(path).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def _answers(base: urllib.parse.SplitResult) -> bool:
    if base.scheme in urllib.request.getproxies():
        return True  # behind a proxy the host itself need not answer
    try:
        port = base.port or (80 if base.scheme == "http" else 443)
        socket.create_connection((base.hostname or "", port), timeout=CONNECT_S).close()
    except OSError:
        return False
    return True


def _new_sidecar(group: str) -> dict[str, Any]:
    readable = re.sub(r"[^\w-]+", "-", group)
    return {"format": VERSION, "id": f"{readable}-{secrets.token_hex(6)}", "last_step": -1}


def _without_key(text: str) -> str:
    key = os.environ.get("WANDB_API_KEY")
    return text.replace(key, "[key]") if key else text
