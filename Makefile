# The two commands of the README: `make demo` and `make test`. Both make what they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test soak aarch64 lint bench quality clean

help:
	@echo "make demo    see it work: writes demo-output/index.html (no camera, no sensor, no torch)"
	@echo "make test    run all tests (installs torch: training is tested too)"
	@echo "make soak    run the long tests, one after the other (a hundred kills, a hundred photographs)"
	@echo "make aarch64 compare the pictures of a Pi's processors, emulated, with those of this machine"
	@echo "make lint    ruff and mypy"
	@echo "make bench   measure speed and memory on this machine"
	@echo "make quality measure the restoration on a simulated test set (PHOTOS= and MOTION= folders)"
	@echo "make clean   remove the environment and everything that was written here"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/dev.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@ $(VENV)/run.stamp

# Training code needs torch; pinned, because the newest release may come with gigabytes of CUDA.
TORCH ?= torch==2.13.0
$(VENV)/train.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,train,export]"
	touch $@ $(VENV)/dev.stamp $(VENV)/run.stamp

demo: $(VENV)/run.stamp
	$(BIN)/stillpi demo --output demo-output

test: $(VENV)/train.stamp
	$(BIN)/python -m pytest

soak: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m soak -vv

aarch64: $(VENV)/dev.stamp
	$(BIN)/python tests/device/aarch64/set_up.py
	$(BIN)/python -m pytest -m soak -vv tests/device/aarch64

lint: $(VENV)/train.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/run.stamp
	$(BIN)/stillpi bench

PHOTOS ?= ../shared/data/photos
MOTION ?= ../shared/data/imu_logs
quality: $(VENV)/run.stamp
	$(BIN)/stillpi-train testset bench-output/testset --count 24 --photos $(PHOTOS) --motion $(MOTION)
	$(BIN)/stillpi-train evaluate bench-output/testset --model default

clean:
	rm -rf $(VENV) demo-output bench-output build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
