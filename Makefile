# Each target does its own set-up first; `scripts/setup` is quick where nothing is missing.
.DEFAULT_GOAL := help
.PHONY: help setup check image test test-all test-cluster soak soak-memory fuzz demo bench bench-gate protos docs lock

help: ## this list
	@sed -n 's/^\([a-z-]*\): .*## /  make \1 - /p' $(MAKEFILE_LIST)

setup: ## the servers and the browser of the tests (apt-get, as root) and .venv with the pinned packages
	@scripts/setup

check: ## everything that needs no run: format, lint, types, layers, what is generated, Dockerfile, house rules
	@scripts/setup check
	@scripts/check

image: ## the image, built and started without an engine (buildah, debootstrap, root); TARGET=proxy|envoy|webhook
	@scripts/image check $(or $(TARGET),proxy)

# Most tests wait for a server most of the time, so that three files at once take half as long on two cores.
test: ## all tests, against real Redis and RabbitMQ; ARGS="tests/calls/test_keys.py -k case" for some
	@scripts/setup
	@$(if $(ARGS),,echo "test: all of it takes about 15 minutes on two cores")
	@.venv/bin/python -m pytest $(or $(ARGS),-n 3 --dist loadfile --no-loadscope-reorder)

test-all: ## the same and its long forms, then two minutes each of soak and fuzz; about half an hour
	@scripts/setup
	@.venv/bin/python -m pytest -m "" $(ARGS)
	@PROXY_TRANSPORT=envoy .venv/bin/python -m pytest -m "" $$(grep -rl ProxyProcess tests --include='test_*.py') $(ARGS)
	@.venv/bin/python -m tests.consistency.run --seconds 120
	@.venv/bin/python -m tests.fuzz.run --seconds 120

test-cluster: ## chart and webhook on a real API server, KUBEBUILDER_ASSETS=…; ARGS="tests/cluster/check_strict.py" for some
	@scripts/setup cluster
	@.venv/bin/python -m tests.cluster.run $(ARGS)

SECONDS ?= 300
soak: ## reads and writes while all and parts break: SECONDS=300 SEED=1 ARGS="--proxies 3 --redis alone|replicated|sentinel|cluster"
	@scripts/setup
	@.venv/bin/python -m tests.consistency.run --seconds $(SECONDS) --seed $(or $(SEED),1) $(ARGS)

soak-memory: ## many calls, many cut short: is anything of them left in the proxy? CALLS=200000 SEED=1
	@scripts/setup
	@.venv/bin/python -m tests.soak.run --calls $(or $(CALLS),200000) --seed $(or $(SEED),1)

fuzz: ## new examples for every fuzz target: SECONDS=600; SEED=7 repeats that round; ARGS="tests/fuzz/test_entries.py"
	@scripts/setup
	@.venv/bin/python -m tests.fuzz.run --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

demo: ## the whole stack and a tour of it; ONCE=1 ends after the tour, TRANSPORT=envoy runs the proxy so
	@scripts/setup demo
	@.venv/bin/python -m examples.demo

bench: ## what a call costs, beside what people would use instead; docs/performance.md; ARGS="sides" for a part
	@scripts/setup bench
	@.venv/bin/python -m bench $(ARGS)

bench-gate: ## fails when a hit costs too much beside a bare gRPC echo, and inside Envoy beside plain Envoy; two minutes, wants a quiet machine
	@scripts/setup bench
	@.venv/bin/python -m bench.gate

protos: ## stubs and descriptors from protos/ and examples/protos/
	@scripts/setup check
	@scripts/gen-protos

docs: ## docs/configuration.md, docs/metrics.md and the reference of docs/policies.md from what is declared
	@scripts/setup check
	@.venv/bin/python scripts/gen-config-docs
	@.venv/bin/python scripts/gen-metrics-docs
	@.venv/bin/python scripts/gen-policy-docs

lock: ## constraints.txt from pyproject.toml
	@scripts/setup check
	@scripts/lock
