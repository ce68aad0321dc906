# `make test` needs Rust (with rustfmt and clippy), Python 3.11 and curl; it installs the rest into
# target/.

CLIENTS := 0.2.0 0.5.13
VENVS := $(CLIENTS:%=target/venv-%)
PUBLISHED := tests/published_clients
CARGO_DENY := 0.20.2

.PHONY: run test test-rust test-clients audit

run:
	cargo run --release

test: test-rust test-clients

test-rust:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo test
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# The Python clients that are published today, unmodified, each in an environment of its own.
test-clients: $(VENVS:%=%/.installed)
	cargo build
	for venv in $(VENVS); do \
	    THROTTLE_BIN=target/debug/throttle $$venv/bin/python -m pytest -q $(PUBLISHED) || exit 1; \
	done

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
