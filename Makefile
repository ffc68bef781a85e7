# Each target does its own set-up first; `scripts/setup` is quick if nothing is missing.
.DEFAULT_GOAL := help
.PHONY: help setup check image test test-all test-cluster soak soak-memory fuzz demo bench bench-gate protos docs lock

help: ## prints this list
	@sed -n 's/^\([a-z-]*\): .*## /  make \1 - /p' $(MAKEFILE_LIST)

setup: ## installs the servers and the browser for the tests (apt-get, as root), and .venv with the pinned packages
	@scripts/setup

check: ## runs all static checks: format, lint, types, layers, generated files, Dockerfile, house rules
	@scripts/setup check
	@scripts/check

image: ## builds and starts the image without a container engine (needs buildah, debootstrap, root); TARGET=proxy|envoy|webhook
	@scripts/image check $(or $(TARGET),proxy)

# Most tests wait for a server most of the time, so running three files in parallel takes half as long on two cores.
test: ## runs all tests, against real Redis and RabbitMQ; ARGS="tests/calls/test_keys.py -k case" runs some
	@scripts/setup
	@$(if $(ARGS),,echo "test: this takes about 15 minutes on two cores")
	@.venv/bin/python -m pytest $(or $(ARGS),-n 3 --dist loadfile --no-loadscope-reorder)

test-all: ## runs all tests with their long forms, then two minutes each of soak and fuzz; about half an hour
	@scripts/setup
	@.venv/bin/python -m pytest -m "" $(ARGS)
	@PROXY_TRANSPORT=envoy .venv/bin/python -m pytest -m "" $$(grep -rl ProxyProcess tests --include='test_*.py') $(ARGS)
	@.venv/bin/python -m tests.consistency.run --seconds 120
	@.venv/bin/python -m tests.fuzz.run --seconds 120

test-cluster: ## tests chart and webhook on a real API server, KUBEBUILDER_ASSETS=…; ARGS="tests/cluster/check_strict.py" runs some
	@scripts/setup cluster
	@.venv/bin/python -m tests.cluster.run $(ARGS)

SECONDS ?= 300
soak: ## makes reads and writes during total and partial faults: SECONDS=300 SEED=1 ARGS="--proxies 3 --redis alone|replicated|sentinel|cluster"
	@scripts/setup
	@.venv/bin/python -m tests.consistency.run --seconds $(SECONDS) --seed $(or $(SEED),1) $(ARGS)

soak-memory: ## makes many calls, many of them cancelled, and looks for what they leave in memory: CALLS=200000 SEED=1
	@scripts/setup
	@.venv/bin/python -m tests.soak.run --calls $(or $(CALLS),200000) --seed $(or $(SEED),1)

fuzz: ## runs every fuzz target on new examples: SECONDS=600; SEED=7 repeats that round; ARGS="tests/fuzz/test_entries.py"
	@scripts/setup
	@.venv/bin/python -m tests.fuzz.run --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

demo: ## starts the whole stack and gives a tour; ONCE=1 ends after the tour, TRANSPORT=envoy runs the proxy inside Envoy
	@scripts/setup demo
	@.venv/bin/python -m examples.demo

bench: ## measures what a call costs, beside the alternatives, for docs/performance.md; ARGS="sides" measures a part
	@scripts/setup bench
	@.venv/bin/python -m bench $(ARGS)

bench-gate: ## fails if a hit costs too much relative to a bare gRPC echo, or inside Envoy to plain Envoy; two minutes, needs a quiet machine
	@scripts/setup bench
	@.venv/bin/python -m bench.gate

protos: ## generates stubs and descriptors from protos/ and examples/protos/
	@scripts/setup check
	@scripts/gen-protos

docs: ## generates docs/configuration.md, docs/metrics.md and the reference of docs/policies.md
	@scripts/setup check
	@.venv/bin/python scripts/gen-config-docs
	@.venv/bin/python scripts/gen-metrics-docs
	@.venv/bin/python scripts/gen-policy-docs

lock: ## generates constraints.txt from pyproject.toml
	@scripts/setup check
	@scripts/lock
