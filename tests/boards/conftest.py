"""A small wandb server on loopback: GraphQL for views and runs, and the file stream that history rows arrive by."""

from __future__ import annotations

import base64
import gzip
import importlib
import json
import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lop.run.owner import claim
from lop.run.store import RunStore
from lop.run.tables import EVENTS

SECRET = "0123456789abcdef0123456789abcdef01234567"


class FakeWandb(ThreadingHTTPServer):
    """Knows one key, and one project of entity "lab" until a run brings another.

    broken: "" or "silent" (takes requests and never answers), or "stream" (silent from the first row on).
    lines: history lines it takes before it forgets the rest.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.projects = {("lab", "lop")}
        self.views: list[dict[str, Any]] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.uploads: dict[str, bytes] = {}
        self.asked: list[str] = []  # names of GraphQL operations
        self.broken, self.lines = "", 10**9
        self.released = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of ours."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def steps(self, number: str) -> list[int]:
        """global_step of the history rows of a run, as they arrived."""
        return [row["global_step"] for row in self.history(number)]

    def history(self, number: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.runs[number]["history"]]

    def answer(self, operation: str, query: str, given: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL answer."""
        self.asked.append(operation)
        known = getattr(self, f"_{operation}", None)
        if known is not None:
            return known(given)
        if "viewer" in query:
            return {"viewer": {"id": "V", "entity": "lab", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        return {}

    def _LopFindView(self, given: dict[str, Any]) -> dict[str, Any]:
        if (given["entity"], given["project"]) not in self.projects:
            return {"project": None}
        found = [v for v in self.views if v["name"] == given["name"] and v["kind"] == given["kind"]]
        return {"project": {"allViews": {"edges": [{"node": {"id": v["id"], "name": v["name"]}} for v in found]}}}

    def _LopSaveView(self, given: dict[str, Any]) -> dict[str, Any]:
        old = next((view for view in self.views if view["id"] == given["id"]), None)
        view = old if old is not None else {"id": f"Vmlld{len(self.views)}=="}
        view |= {key: value for key, value in given.items() if key != "id"}
        if old is None:
            self.views.append(view)
        return {"upsertView": {"view": {"id": view["id"], "name": view["name"]}, "inserted": old is None}}

    def _LopRunProgress(self, given: dict[str, Any]) -> dict[str, Any]:
        return self._RunResumeStatus({**given, "name": given["run"]})

    def _RunResumeStatus(self, given: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(given["name"])
        if run is None:
            return {"model": None}
        bucket = {"id": "R", "name": given["name"], "displayName": "", "tags": [], "notes": None, "logLineCount": 0}
        bucket |= {"historyLineCount": len(run["history"]), "historyTail": json.dumps(run["history"][-1:])}
        bucket |= {"eventsLineCount": 0, "eventsTail": "[]", "summaryMetrics": run["summary"]}
        bucket |= {"config": run["config"], "wandbConfig": "{}"}
        return {"model": {"id": "P", "name": "p", "entity": {"id": "E", "name": "lab"}, "bucket": bucket}}

    def _UpsertBucket(self, given: dict[str, Any]) -> dict[str, Any]:
        new = {"history": [], "summary": "{}", "config": "{}", "complete": False, "about": given}
        run = self.runs.setdefault(given["name"], new)
        run["config"] = given["config"] or run["config"]
        entity = given["entity"] or "lab"
        self.projects.add((entity, given["project"]))
        project = {"id": "P", "name": given["project"], "entity": {"id": "E", "name": entity}}
        bucket = {"id": "R", "name": given["name"], "displayName": given["displayName"], "description": None}
        bucket |= {"config": run["config"], "sweepName": None, "project": project}
        return {"upsertBucket": {"bucket": {**bucket, "historyLineCount": len(run["history"])}, "inserted": True}}

    def _CreateRunFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in given["files"]]
        return {"createRunFiles": {"runID": "R", "uploadHeaders": [], "files": files}}

    def stream(self, number: str, body: dict[str, Any]) -> None:
        """Rows at an offset, as wandb's file stream sends them."""
        run = self.runs[number]
        for name, part in (body.get("files") or {}).items():
            if name == "wandb-history.jsonl":
                rows = part["content"][: max(0, self.lines - len(run["history"]))]
                run["history"][part["offset"] :] = rows
            elif name == "wandb-summary.json":
                run["summary"] = part["content"][-1]
        run["complete"] = body.get("complete", run["complete"])


class Handler(BaseHTTPRequestHandler):
    server: FakeWandb
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self._body()
        if self.server.broken == "stream" and self.path.endswith("/file_stream"):
            self.server.broken = "silent"
        if self.server.broken == "silent":
            self.server.released.wait(60)
            self.close_connection = True
            return
        authorization = self.headers.get("Authorization", "").removeprefix("Basic ")
        if self.path == "/graphql" and base64.b64decode(authorization).decode() != f"api:{SECRET}":
            self._reply({"errors": [{"message": "permission denied"}]}, 401)
        elif self.path == "/graphql":
            asked = json.loads(body)
            operation = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
            given = asked.get("variables") or {}
            self._reply({"data": self.server.answer(operation[1] if operation else "", asked["query"], given)})
        elif self.path.endswith("/file_stream"):
            self.server.stream(self.path.split("/")[-2], json.loads(body))
            self._reply({"exitcode": None, "limits": {}})
        else:
            self._reply({})

    def do_PUT(self) -> None:
        self.server.uploads[self.path.removeprefix("/upload/")] = self._body()
        self._reply({})

    def do_GET(self) -> None:
        self._reply({})

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _reply(self, content: dict[str, Any], code: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def wandb_server() -> Iterator[FakeWandb]:
    server = FakeWandb()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def account(wandb_server: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An environment with the fake server and its key, and nothing of the machine's own; yields its home."""
    wandb = pytest.importorskip("wandb")
    # a service that an earlier test left would go on with that one's settings
    wandb.teardown()
    home = tmp_path / "home"
    home.mkdir()
    for name in [name for name in os.environ if name.startswith("WANDB_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in {"BASE_URL": wandb_server.url, "API_KEY": SECRET, "CONFIG_DIR": home, "CACHE_DIR": home}.items():
        monkeypatch.setenv(f"WANDB_{name}", str(value))
    monkeypatch.setenv("NETRC", str(home / "netrc"))
    yield home
    # wandb's service would go on talking to this server
    wandb.teardown()


@pytest.fixture
def boards(account: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """`python -m lop.boards` in this process: code, out and err. key: "" for none."""
    wandb = pytest.importorskip("wandb")
    main = importlib.import_module("lop.boards.__main__").main

    def run(*words: Any, key: str = SECRET, url: str = "") -> SimpleNamespace:
        monkeypatch.setenv("WANDB_API_KEY", key)
        if url:
            monkeypatch.setenv("WANDB_BASE_URL", url)
        capfd.readouterr()
        try:
            code = main([*map(str, words)])
        except SystemExit as ended:
            code = ended.code
        finally:
            wandb.teardown()
        out, err = capfd.readouterr()
        assert SECRET not in out + err
        assert all(SECRET.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        return SimpleNamespace(code=code, out=out, err=err)

    return run


def write_rows(folder: Path, updates: range, cut_from: int | None = None, units: bool = False) -> None:
    """Rows of metrics (and units) for these updates, 10 steps each; first cut back to the row of update `cut_from`."""
    info = {"configuration": {"env": {"name": "ant"}, "algo": {"name": "cbp"}, "wandb": {"project": "lop"}}}
    store = RunStore(folder, layers=[4, 3], info=info)
    if cut_from is not None:
        lines = (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)
        store.metrics.cut(sum(map(len, lines[:cut_from])))
    for update in updates:
        store.append_metrics({"global_step": 10 * update, "update": update, "margin/dead_counts/layer_0": 0.5 * update})
        if units:
            store.append_units(10 * update, update, np.linspace(-1, 1, 49).reshape(7, 7) - update / 10)
    store.append_events(np.zeros(0, EVENTS))
    store.close()


def end(folder: Path, status: str = "finished") -> None:
    claim(folder).release(status)


@pytest.fixture(scope="session")
def local() -> Any:
    return SimpleNamespace(write_rows=write_rows, end=end, secret=SECRET)
