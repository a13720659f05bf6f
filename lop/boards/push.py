"""Puts the boards onto wandb, or brings those up to date that an earlier push made, from whatever machine.

A board is found by its name at the server, so nothing has to be kept here. Saved views belong to a project, and everyone
who may write to it may update them.
"""

from __future__ import annotations

import json

from lop.boards.server import Server, ServerError
from lop.boards.spec import View

FIND = """
query LopFindView($entity: String, $project: String, $kind: String!, $name: String) {
  project(name: $project, entityName: $entity) {
    allViews(viewType: $kind, viewName: $name) { edges { node { id name } } }
  }
}
"""
SAVE = """
mutation LopSaveView($id: ID, $entity: String, $project: String, $kind: String, $name: String, $title: String,
                     $description: String, $spec: String!) {
  upsertView(input: {id: $id, entityName: $entity, projectName: $project, type: $kind, name: $name,
                     displayName: $title, description: $description, spec: $spec, createdUsing: WANDB_SDK}) {
    view { id name }
    inserted
  }
}
"""


def push(server: Server, entity: str, project: str, boards: list[View]) -> list[str]:
    """Makes or updates each board; returns a line each, with its address. Errors: ServerError."""
    # all are looked for before the first is written: a wrong project leaves nothing behind
    found = [find(server, entity, project, board) for board in boards]
    lines = []
    for board, old in zip(boards, found, strict=True):
        new = save(server, entity, project, board, old)
        lines.append(f"{'updated' if old else 'made'}: {address(server, entity, project, board, new)}")
    return lines


def find(server: Server, entity: str, project: str, board: View) -> str | None:
    """The id of the board that an earlier push made, None without one. Errors: ServerError, also without such a project."""
    answer = server.ask(FIND, {"entity": entity, "project": project, "kind": board.kind, "name": board.name})
    if not answer.get("project"):
        raise ServerError(
            f"wandb at {server.host} has no project {entity}/{project} that this key may see: check --entity and --project; "
            "a project begins with its first run (`python -m lop.boards sync runs/`)"
        )
    nodes = [edge["node"] for edge in answer["project"]["allViews"]["edges"]]
    return next((node["id"] for node in nodes if node["name"] == board.name), None)


def save(server: Server, entity: str, project: str, board: View, old: str | None) -> str:
    """Writes the board over the one with id `old`, or as a new one; returns its id. Errors: ServerError."""
    about = {"entity": entity, "project": project, "kind": board.kind, "name": board.name, "title": board.title}
    spec = json.dumps(board.spec, separators=(",", ":"))
    answer = server.ask(SAVE, {"id": old, "description": "", "spec": spec, **about})
    try:
        return answer["upsertView"]["view"]["id"]
    except (KeyError, TypeError):
        raise ServerError(f"wandb at {server.host} did not save {board.title!r} in {entity}/{project}") from None


def address(server: Server, entity: str, project: str, board: View, number: str) -> str:
    """Where a reader finds the board."""
    place = f"{server.app}/{entity}/{project}"
    if board.kind == "project-view":
        return f"{place}?nw={board.name.removeprefix('nw-').removesuffix('-v')}"
    title = "-".join("".join(c if c.isalnum() else " " for c in board.title).split())
    return f"{place}/reports/{title}--{number.rstrip('=')}"
