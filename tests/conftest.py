"""Fixtures shared by all tests."""

from __future__ import annotations

import signal

import pytest
import torch


def pytest_configure() -> None:
    # jobs in the background of a shell ignore SIGINT, and so would the processes that tests interrupt
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_flush_denormal(True)
    torch.set_num_threads(1)
