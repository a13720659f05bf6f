"""Trackers: copies of a run's metrics elsewhere. The local store is the truth, and a tracker may fail without harm.

`WandbTracker` sends rows to wandb: online when a key and a connection exist, else into `<run folder>/wandb`; later
`python -m lop.boards sync` sends what wandb does not have. `wandb.json` in the run folder keeps the run's id, the last step
that was logged and whether it went online, so that a resumed run goes on as the same one, rows computed again are not
sent twice, and no row overtakes one that still waits in the folder. It never holds a key.
"""

from __future__ import annotations

import contextlib
import netrc
import os
import socket
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lop.run.files import RunError
from lop.run.wandb_run import (
    SETTINGS,
    about_run,
    define_axis,
    images,
    new_sidecar,
    read_sidecar,
    sending,
    write_sidecar,
)

MODES = ("online", "offline", "disabled")
CONNECT_S = 3.0
FORMER_HOST = "api.wandb.ai"  # keys saved by older versions of wandb stand under it, and 0.31 still finds them


Pictures = Callable[[], Mapping[str, bytes]]


class Tracker(Protocol):
    """What the training loop asks of a tracker."""

    def log(self, row: dict[str, Any], pictures: Pictures | None = None) -> None:
        """Takes one row with its global_step, and what draws PNG files to go with it, by key."""

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
        self._draws = True
        self._mode: Any = asked_mode(mode)
        if self._mode == "disabled":
            return
        about = about_run(self._folder, group, config, project=project, entity=entity, tags=tags)
        self._guarded(lambda: self._start(about))

    def log(self, row: dict[str, Any], pictures: Pictures | None = None) -> None:
        """Sends a row of scalars, unless its global_step was sent before; pictures only online, `sync` draws the others."""
        if self._run is not None and row["global_step"] > self._sidecar["last_step"]:
            drawn = self._drawn(pictures) if pictures and self._draws and self._mode == "online" else {}
            self._guarded(lambda: self._send({**row, **drawn}))

    def finish(self, status: str) -> None:
        """Ends the wandb run; a failed one is shown as such. Finishing twice does nothing."""
        if self._run is not None:
            self._guarded(lambda: self._end(status))
        self._run = None

    def _start(self, about: dict[str, Any]) -> None:
        import wandb

        self._sidecar = read_sidecar(self._folder) or new_sidecar(about["group"])
        waits = self._sidecar["mode"] == "offline" and self._sidecar["last_step"] >= 0
        # what still waits in the folder comes first: online rows would overtake it
        self._mode = self._mode or ("offline" if waits else default_mode())
        with sending(self._folder) as alone:
            # two writers of one wandb run would write over each other's rows
            self._mode = self._mode if alone else "offline"
        self._sidecar["mode"] = self._mode
        self._save()
        # wandb-core dies with us and loses what it has not flushed (15 s by default); what is not sent within 60 s of the
        # end stays on the disk
        settings = wandb.Settings(**SETTINGS, x_transaction_log_flush_interval=1.0, finish_timeout=60.0)
        self._run = wandb.init(
            **about,
            id=self._sidecar["id"],
            dir=self._folder,
            mode=self._mode,
            # offline a resume is a new folder with the same id
            resume="allow" if self._mode == "online" else None,
            reinit="create_new",
            settings=settings,
        )
        # processes started from here would talk to our wandb-core, and die with it
        os.environ.pop("WANDB_SERVICE", None)
        define_axis(self._run)

    def _send(self, row: dict[str, Any]) -> None:
        # noted before it is sent: a row may be lost with the process, but never sent twice
        self._sidecar["last_step"] = int(row["global_step"])
        self._save()
        self._run.log(row)

    def _drawn(self, pictures: Pictures) -> dict[str, Any]:
        """wandb's images; none, after one warning, where they cannot be drawn: the rows are sent all the same."""
        try:
            return images(pictures())
        except Exception as error:
            self._draws = False
            reason = " ".join(str(error).split()) or type(error).__name__
            warnings.warn(f"no pictures of {self._folder} for wandb: {reason}. Training goes on.", stacklevel=3)
            return {}

    def _end(self, status: str) -> None:
        self._run.summary["status"] = status
        self._run.finish(exit_code=int(status == "failed"))

    def _save(self) -> None:
        write_sidecar(self._folder, self._sidecar)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            self._run = None
            if isinstance(error, ConnectionError):
                _forget_service()
            reason = without_key(" ".join(str(error).split()) or type(error).__name__)
            warnings.warn(f"wandb is off for {self._folder}: {reason}. Training goes on.", stacklevel=3)


def asked_mode(mode: str | None) -> str | None:
    """One of MODES, from `mode` or else from WANDB_MODE; None ("auto") if neither says. Errors: RunError."""
    asked = os.environ.get("WANDB_MODE") or None if mode in (None, "auto") else mode
    if asked not in (None, *MODES):
        raise RunError(f"{'' if mode == asked else 'WANDB_MODE: '}wandb mode {asked!r}: allowed are {', '.join(MODES)}")
    return asked


def default_mode() -> str:
    """ "online" if there is a key for wandb's host and the host answers, else "offline"."""
    base = base_address()
    # without a connection wandb.init itself takes 31 s to 90 s to find out
    return "online" if has_key(base.netloc) and answers(base) else "offline"


def base_address() -> urllib.parse.SplitResult:
    """The address of wandb's host, as its settings and WANDB_BASE_URL say."""
    import wandb

    return urllib.parse.urlsplit(os.environ.get("WANDB_BASE_URL") or wandb.Settings().base_url)


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


def answers(base: urllib.parse.SplitResult) -> bool:
    """Whether something listens at the address; True behind a proxy, which is not asked."""
    if base.scheme in urllib.request.getproxies():
        return True  # behind a proxy the host itself need not answer
    try:
        port = base.port or (80 if base.scheme == "http" else 443)
        socket.create_connection((base.hostname or "", port), timeout=CONNECT_S).close()
    except OSError:
        return False
    return True


def without_key(text: str) -> str:
    """The text with a key of the environment blotted out."""
    key = os.environ.get("WANDB_API_KEY")
    return text.replace(key, "[key]") if key else text
