"""wandb's server as far as boards need it: questions in GraphQL, and every failure as one line.

The transport is wandb's own (keys, proxies, certificates), with few retries: nobody waits minutes for a host that is gone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import wandb

from lop.run.files import RunError
from lop.run.trackers import answers, base_address, has_key, without_key

TIMEOUT_S = 15.0
RETRIES = 2


class ServerError(RunError):
    """wandb cannot be asked, or refuses; one line."""


class Server:
    """wandb's host with the key that is kept for it.

    Server().ask("query Me { viewer { id } }")    # {"viewer": {"id": ...}}
    """

    def __init__(self) -> None:
        """Errors: ServerError without a key, with one that is refused, or if the host does not answer."""
        base = base_address()
        self.host = base.netloc
        if not base.scheme.startswith("http") or not base.hostname:
            raise ServerError(f"WANDB_BASE_URL={base.geturl()}: is no address; give one such as https://api.wandb.ai")
        if not has_key(self.host):
            raise ServerError(
                f"no key for wandb at {self.host}: `wandb login`, or set WANDB_API_KEY (WANDB_BASE_URL names another host)"
            )
        if not answers(base):
            raise ServerError(f"wandb at {self.host} cannot be reached from here; WANDB_BASE_URL names another host")
        # for wandb.init too; without a limit wandb asks again for many minutes
        wandb.setup(
            settings=wandb.Settings(silent=True, x_graphql_retry_max=RETRIES, x_graphql_timeout_seconds=TIMEOUT_S)
        )
        with self.spoken():
            self._api = wandb.Api(timeout=round(TIMEOUT_S))
            self.app = self._api._service_api.app_url.rstrip("/")

    def ask(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The data of the answer. Errors: ServerError."""
        with self.spoken():
            return self._api._service_api.execute_graphql(query, variables=variables)

    def error(self, error: Exception) -> ServerError:
        """The same in one line, without a key in it."""
        said = without_key(" ".join(str(error).split()) or type(error).__name__)
        refused = isinstance(error, wandb.errors.AuthenticationError)
        advice = "; if the key is refused: `wandb login --relogin`, or another WANDB_API_KEY" if refused else ""
        return ServerError(f"wandb at {self.host}: {said}{advice}")

    @contextlib.contextmanager
    def spoken(self) -> Iterator[None]:
        """Turns whatever wandb raises in the block into a ServerError."""
        try:
            yield
        except RunError:
            raise
        except Exception as error:
            raise self.error(error) from None
