# Everything a newcomer or CI types. Python 3.11 or newer; `make PYTHON=python3.12 ...` to choose one.
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
# test processes; most of what the cluster's tests do is waiting
WORKERS ?= 2

.PHONY: train test test-long bench lint clean setup slurm-up slurm-down
SLURM_ROOT ?= /tmp/lop-slurm

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed, this is " + sys.version'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt torch
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# Ant with continual backprop for 200,000 steps: a few minutes
train: setup
	$(RUN) -m lop.train env=ant algo=cbp name=first total_steps=2e5

test: setup
	$(RUN) -m pytest -m 'not long' --numprocesses $(WORKERS) --dist loadfile

test-long: setup
	$(RUN) -m pytest -m long

# speed beside Stable-Baselines3 and beside the limit of this machine
bench: setup
	$(RUN) -m lop.bench

lint: setup
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

# a Slurm of one's own on this machine (apt packages: slurm/README.md); NODES=2, GPUS=, PREEMPT=1, ACCT=dbd are passed on
slurm-up:
	@slurm/slurm_up.sh $(SLURM_ROOT)

slurm-down:
	@slurm/slurm_down.sh $(SLURM_ROOT) --wipe

clean:
	rm -rf $(VENV) build dist *.egg-info
