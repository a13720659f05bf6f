from __future__ import annotations

import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest

from lop.dashboard.__main__ import main


def test_a_folder_that_is_not_there_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path / 'nowhere'} is no folder; give the one that runs are written to (runs_dir, `runs` by default)\n"
    )


def test_a_port_that_is_taken_or_none_is_one_line(tmp_path, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main([str(tmp_path), "--port", str(port)]) == 2
    assert capsys.readouterr().err.startswith(f"error: cannot listen on port {port}: ")
    assert main([str(tmp_path), "--port", "70000"]) == 2
    assert "0 to 65535" in capsys.readouterr().err


@pytest.fixture(scope="module")
def address(runs):
    """The address of a server of the fixture's runs, ended by SIGTERM."""
    words = [sys.executable, "-m", "lop.dashboard", str(runs)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    timer = threading.Timer(120, process.kill)
    timer.start()
    yield process.stdout.readline().strip()
    process.terminate()
    out, err = process.communicate()
    timer.cancel()
    assert (process.returncode, out, err) == (0, "", "")


def get(address: str, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_the_address_that_is_printed_leads_to_the_runs_on_loopback_alone(address):
    assert address.startswith("http://127.0.0.1:")
    status, page = get(address)
    assert status == 200 and b"All runs - lop" in page
    port = int(address.rstrip("/").rpartition(":")[2])
    with socket.socket() as other:
        other.settimeout(5)
        assert other.connect_ex((own_address(), port)) != 0


def own_address() -> str:
    """An address of this machine that is not 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.2"


def test_an_unknown_page_or_format_and_a_foreign_host_are_refused(address):
    assert get(address + "export?page=runs&format=csv")[0] == 200
    assert get(address + "export?page=runs&format=exe")[0] == 404
    assert get(address + "export?page=../runs&format=csv")[0] == 404
    assert get(address + "export?page=runs&format=csv", Host="evil.example")[0] == 403


def test_whatever_the_address_asks_a_page_comes(address):
    query = "?run=%3Cscript%3Ealert(1)%3C/script%3E&env=%00&layer=-1&points=1e9&stat=../../x"
    for page in ("runs", "run", "units", "tasks", "compare"):
        status, text = get(address + page + query)
        assert status == 200 and b"alert(1)" not in text


def test_serving_loads_neither_torch_nor_matplotlib():
    program = (
        "import sys; from lop.dashboard.metrics import METRICS; import lop.dashboard.site;"
        "assert 'γ_j' in METRICS['margin/dead_counts'].formula;"
        "print([m for m in ('torch', 'matplotlib', 'mujoco', 'wandb', 'lop.train') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
