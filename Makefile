# `make test` needs Rust (with rustfmt and clippy), Python 3.11 and curl; it installs the rest into
# target/.

CLIENTS := 0.2.0 0.5.13
VENVS := $(CLIENTS:%=target/venv-%)
PUBLISHED := tests/published_clients
CARGO_DENY := 0.20.2

OURS := target/venv-ours

.PHONY: run test test-rust test-python test-clients compare-clients audit

run:
	cargo run --release

test: test-rust test-python test-clients

test-rust:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo test
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# Our own Python client, against the real server.
test-python: $(OURS)/.installed
	cargo build
	cd python_client && ../$(OURS)/bin/ruff check && ../$(OURS)/bin/ruff format --check
	cd python_client && ../$(OURS)/bin/mypy && ../$(OURS)/bin/pyright --pythonpath ../$(OURS)/bin/python
	THROTTLE_BIN=target/debug/throttle $(OURS)/bin/python -m pytest -q -c python_client/pyproject.toml python_client/tests

# The Python clients that are published today, unmodified, each in an environment of its own; and
# the same flows with our own client, in both ways in which it can be told who locks.
test-clients: $(VENVS:%=%/.installed) $(OURS)/.installed
	cargo build
	for venv in $(VENVS) $(OURS); do \
	    THROTTLE_BIN=target/debug/throttle $$venv/bin/python -m pytest -q -p no:asyncio $(PUBLISHED) || exit 1; \
	done
	THROTTLE_LOCK_BY=peer THROTTLE_BIN=target/debug/throttle \
	    $(OURS)/bin/python -m pytest -q -p no:asyncio $(PUBLISHED)

# Lock cycles a second: our Python client beside the published one.
compare-clients: target/venv-0.5.13/.installed $(OURS)/.installed
	cargo build --release
	THROTTLE_BIN=target/release/throttle $(OURS)/bin/python python_client/benches/cycles.py \
	    0.5.13=target/venv-0.5.13/bin/python ours=$(OURS)/bin/python

$(OURS)/.installed: python_client/pyproject.toml python_client/requirements-dev.txt
	python3 -m venv $(OURS)
	$(OURS)/bin/python -m pip install --quiet --requirement python_client/requirements-dev.txt
	$(OURS)/bin/python -m pip install --quiet --editable python_client
	touch $@

target/venv-%/.installed: $(PUBLISHED)/requirements-%.txt
	python3 -m venv target/venv-$*
	target/venv-$*/bin/python -m pip install --quiet --requirement $<
	touch $@

# Licences, bans and sources of all dependencies; known vulnerabilities where the list of them can
# be reached.
audit:
	cargo deny --version || cargo install cargo-deny --version $(CARGO_DENY) --locked
	cargo deny check licenses bans sources
	if cargo deny fetch db; then cargo deny check advisories; \
	else echo "advisories not checked: the list cannot be reached"; fi
