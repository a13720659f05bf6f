"""Workers of a job: started with their orders, started again when they die, stopped in time. The worker is a small script."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from lop.cluster import crew as crews
from lop.cluster.crew import Crew, Order

#: writes a file as soon as it can be asked to stop, and ends as its order says
SCRIPT = """
import json, os, signal, sys, time
order = json.load(sys.stdin)
config = order["config"]
with open(config["log"], "a") as log:
    log.write(os.environ.get("CUDA_VISIBLE_DEVICES", "-") + os.environ["OMP_NUM_THREADS"] + "\\n")
if config.get("die"):
    os.kill(os.getpid(), signal.SIGKILL)
if config.get("deaf"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
elif config.get("wait"):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
if config.get("wait"):
    open(config["ready"], "w").close()
    time.sleep(60)
sys.exit(config["code"])
"""


@pytest.fixture
def orders(tmp_path, monkeypatch):
    script = tmp_path / "worker.py"
    script.write_text(SCRIPT)
    monkeypatch.setattr(crews, "WORKER", (str(script),))

    def make(*settings: dict, gpu: str | None = None) -> list[Order]:
        places = {"log": str(tmp_path / "log"), "ready": str(tmp_path / "ready")}
        return [Order({"code": 0, **places, **setting}, gpu) for setting in settings]

    return make


def when_ready(tmp_path, number: int) -> None:
    def send() -> None:
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()


def test_every_worker_ends_with_its_own_code(orders):
    assert Crew(orders({"code": 0}, {"code": 1}, {"code": 2})).work() == [0, 1, 2]


def test_a_worker_sees_its_gpu_and_computes_on_one_thread(orders, tmp_path):
    Crew(orders({}, gpu="3")).work()
    assert (tmp_path / "log").read_text() == "31\n"


def test_a_worker_that_dies_is_started_again_three_times(orders, tmp_path, capfd):
    assert Crew(orders({"die": True}, {})).work() == [-signal.SIGKILL, 0]
    assert (tmp_path / "log").read_text().count("\n") == 4 + 1
    assert "worker 0 died (killed by SIGKILL)" in capfd.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM, signal.SIGINT])
def test_a_stop_reaches_the_workers_and_none_is_started_again(orders, tmp_path, number):
    before = signal.getsignal(number)
    crew = Crew(orders({"wait": True}))
    when_ready(tmp_path, number)
    assert crew.work() == [75]
    assert (tmp_path / "log").read_text().count("\n") == 1
    assert crew.stop == signal.Signals(number).name
    assert signal.getsignal(number) == before


def test_a_worker_that_does_not_stop_is_killed_in_time(orders, tmp_path):
    crew = Crew(orders({"wait": True, "deaf": True}), stop_within_s=0.3)
    when_ready(tmp_path, signal.SIGTERM)
    began = time.monotonic()
    assert crew.work() == [-signal.SIGKILL]
    assert time.monotonic() - began < 20


def test_no_worker_outlives_an_error_of_ours(orders, tmp_path, monkeypatch):
    crew = Crew(orders({"wait": True}))

    def fail(seconds: float) -> None:
        if (tmp_path / "ready").exists():
            raise RuntimeError("ours")

    monkeypatch.setattr(crews.time, "sleep", fail)
    with pytest.raises(RuntimeError, match="ours"):
        crew.work()
    assert crew._workers[0].returncode == -signal.SIGKILL
