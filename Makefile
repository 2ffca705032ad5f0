# One command for each thing. Every target makes .venv and installs what it needs, when missing.
# `make PYTHON=/path/to/python3.12 ...` chooses the interpreter (3.11 or newer); each that is chosen
# has an environment of its own, here .venv-3.12, beside the default one.

VENV := .venv
ifdef PYTHON
VENV := $(addprefix .venv-,$(shell "$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
ifeq ($(VENV),)
$(error $(PYTHON) is no Python: name one with make PYTHON=/path/to/python3.12)
endif
endif
PYTHONS = $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11)
PROMPT ?= a large red circle on a white background
# Taken literally and handed over in the environment, so quotes and dollars in it are only text.
override PROMPT := $(value PROMPT)
export PROMPT

BIN := $(VENV)/bin
INSTALL = if command -v uv >/dev/null 2>&1; then uv pip install --quiet --python $(BIN)/python $(1); \
	else $(BIN)/python -m pip install --quiet --no-compile $(1); fi

.DEFAULT_GOAL := help
.PHONY: help install sample page train-boxed docs test test-newest test-slow test-docs test-types check format clean

help:  ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

install: $(VENV)/.installed  ## Install glide_jax into .venv (JAX for the CPU).

sample: $(VENV)/.installed  ## Draw PROMPT="..." with the small model that ships.
	@$(BIN)/glide-jax sample -- "$$PROMPT"

page: $(VENV)/.installed-serve  ## Serve the page on which a brush repaints pictures.
	@$(BIN)/glide-jax serve --model shapes-inpaint --live shapes-few

train-boxed: $(VENV)/.installed-dev  ## Train the shapes model that ships, from nothing.
	launch/train_boxed.sh shapes $(BIN)/glide-jax

# Most of their time is compiling, which one process does on one core. A file stays in one process,
# where its tests share models, and files go in their order, which has no long one at the end. A
# process more than cores takes 1.1 times as long: it compiles again what another has in memory.
test: $(VENV)/.installed-dev  ## Run the fast tests, as CI does.
	$(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder \
		-n $$($(BIN)/python -c 'import os; print(min(4, os.cpu_count()))')

test-newest:  ## Run the fast tests on the newest Python of those that are here.
	@for minor in 13 12 11; do \
		for python in python3.$$minor "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.$$minor.*/bin/python; do \
			"$$python" -c "import sys; sys.exit(sys.version_info[:2] != (3, $$minor))" 2>/dev/null || continue; \
			echo "The newest Python here is $$python."; \
			exec $(MAKE) --no-print-directory test PYTHON="$$python"; \
		done; \
	done; \
	echo "There is no Python 3.11, 3.12 or 3.13 here." >&2; exit 1

test-slow: $(VENV)/.installed-dev  ## Run the slow tests.
	$(BIN)/python -m pytest -m slow --timeout 1800

# A few minutes for each page: an own environment, models, training, servers.
test-docs: $(VENV)/.installed-dev  ## Run every command and snippet of README and docs.
	$(BIN)/python -m pytest -m "slow or not slow" --timeout 5400 \
		tests/end_to_end/test_pages.py tests/end_to_end/test_first_hour.py

test-types: $(VENV)/.installed-dev  ## Run the fast tests with every jaxtyping annotation checked.
	$(BIN)/python -m pytest --jaxtyping-packages=glide_jax,beartype.beartype

# Notebooks run when the site is built, and again only when they change.
docs: $(VENV)/.installed-docs  ## Build the site into docs/_build/html; a warning is an error.
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

check: $(VENV)/.installed-dev  ## Check format, lint, types, layers and prose.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest --quiet tests/test_layers.py tests/test_prose.py

format: $(VENV)/.installed-dev  ## Format the code and apply safe lint fixes.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove .venv, caches and build outputs; runs and pictures stay.
	rm -rf .venv .venv-* build dist ./*.egg-info .pytest_cache .ruff_cache
	find glide_jax configs tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@for python in $(PYTHONS); do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		if command -v uv >/dev/null 2>&1; then make_venv="uv venv --quiet --seed --python"; fi; \
		path=$$("$$python" -c 'import sys; print(sys.executable)'); \
		if [ -n "$$make_venv" ]; then $$make_venv "$$path" $(VENV); else "$$path" -m venv $(VENV); fi \
			|| { rm -rf $(VENV); exit 1; }; \
		exit 0; \
	done; \
	echo 'glide_jax needs Python 3.11 or newer, which none of $(PYTHONS) is: install it, or name it' \
		'with make PYTHON=/path/to/python.' >&2; \
	exit 1

$(VENV)/.installed: setup.py glide_jax/version.py | $(BIN)/python
	@echo "Installing glide_jax into $(VENV) ..."
	@$(call INSTALL,-e .)
	@touch $@

$(VENV)/.installed-dev: setup.py glide_jax/version.py | $(BIN)/python
	@echo "Installing glide_jax and its developer tools into $(VENV) ..."
	@$(call INSTALL,-e '.[dev]')
	@touch $(VENV)/.installed $@

$(VENV)/.installed-serve: setup.py glide_jax/version.py | $(BIN)/python
	@echo "Installing glide_jax and what serves its page into $(VENV) ..."
	@$(call INSTALL,-e '.[serve]')
	@touch $(VENV)/.installed $@

$(VENV)/.installed-docs: setup.py glide_jax/version.py | $(BIN)/python
	@echo "Installing glide_jax and what builds its site into $(VENV) ..."
	@$(call INSTALL,-e '.[docs]')
	@touch $(VENV)/.installed $@
