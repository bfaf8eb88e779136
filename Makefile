# Each target makes the virtual environment by itself, and again only when pyproject.toml changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

export PATH := $(CURDIR)/$(BIN):$(PATH)
export TF_CPP_MIN_LOG_LEVEL ?= 3
export NO_ALBUMENTATIONS_UPDATE ?= 1

.PHONY: repro test test-jax lint deps docs clean help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'
	touch $@

repro: $(STAMP) ## Run the pipeline: raw imagery → patches → model → pictures
	dvc repro
	gim-cv verify

test: $(STAMP) ## Run every test
	pytest -n auto --dist loadfile

test-jax: $(STAMP) ## Run the Keras tests on the JAX backend
	KERAS_BACKEND=jax pytest -n auto --dist loadfile -m "keras and not slow"

lint: $(STAMP) ## Check style and types
	ruff format --check .
	ruff check .
	mypy

deps: $(STAMP) ## Write each stage's code dependencies into dvc.yaml
	python tests/write_deps.py

docs: $(STAMP) ## Make the parts of docs/ that are generated
	python -m docs.build

clean: ## Remove the environment and scratch files; data stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache data/.tmp
