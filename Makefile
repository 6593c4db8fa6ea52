# Two commands from a fresh clone: `make demo` and `make test`. Each does all the set-up that it needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
FOR ?=
PORT ?=
CHAOS ?=
# Modules stay compiled, also where Python is told not to keep them so.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest

.PHONY: help setup services demo oci-demo kafka-demo test soak fuzz check format docs site bench lock clean deploy

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: ## Make the virtual environment from requirements.lock
	@tools/setup.sh

services: ## The same, and unpack real servers for tests and benchmarks
	@tools/setup.sh --services

demo: setup ## Shop, load and agent together; FOR=30s ends by itself, PORT=9490, CHAOS=1
	@$(BIN)/metricsmith demo $(if $(FOR),--for $(FOR)) $(if $(PORT),--port $(PORT)) $(if $(CHAOS),--chaos)

oci-demo: setup ## The shop's metrics to a stand-in for OCI Monitoring; FOR=30s, PORT=9490
	@$(BIN)/metricsmith oci demo $(if $(FOR),--for $(FOR)) $(if $(PORT),--port $(PORT))

kafka-demo: services ## A real Kafka with groups that lag, hang and catch up; FOR=30s, PORT=9490
	@$(BIN)/metricsmith kafka demo $(if $(FOR),--for $(FOR)) $(if $(PORT),--port $(PORT))

test: services ## All tests with small fixed budgets (at most 12 minutes)
	@$(PYTEST) -n 4 --dist worksteal

soak: services ## Long runs: hundreds of kills, thousands of generated queries
	@METRICSMITH_TEST_PROFILE=soak $(PYTEST) --timeout=3600 -m "soak or not soak"

fuzz: setup ## Fuzz the PromQL parser and engine, guided by coverage; FOR=60s
	@mkdir -p .cache/fuzz/found
	@$(BIN)/python tests/fuzz/fuzz_promql.py .cache/fuzz/found tests/promql/corpus -dict=tests/fuzz/promql.dict \
		-artifact_prefix=.cache/fuzz/ -max_len=300 -timeout=20 -max_total_time=$(patsubst %s,%,$(or $(FOR),600))

check: setup ## Lint, format, types, dependency directions, generated docs, links
	@echo "[check] ruff lint";        $(BIN)/ruff check .
	@echo "[check] ruff format";      $(BIN)/ruff format --check .
	@echo "[check] mypy strict";      $(BIN)/mypy
	@echo "[check] import directions"; $(BIN)/lint-imports --no-cache
	@echo "[check] generated docs";   $(BIN)/python tools/docs.py --check
	@echo "[check] deploy/";           env -u METRICSMITH_CONFIG $(BIN)/metricsmith generate systemd | diff deploy/metricsmith.service -
	@echo "[check] links in docs";    $(BIN)/python tools/links.py

format: setup ## Format and mend what ruff can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: setup ## Generate docs/reference anew
	@$(BIN)/python tools/docs.py

site: setup ## Build the documentation site into site/; warnings are errors
	@$(BIN)/python -m sphinx -q -E -W --keep-going -j auto -c tools/site -d .cache/site . site
	@echo "site: site/index.html"

deploy: setup ## Generate deploy/ anew
	@env -u METRICSMITH_CONFIG $(BIN)/metricsmith generate systemd --out deploy

bench: services ## Run the benchmarks, each a ratio beside a peer in one run
	@for file in bench/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

lock: setup ## Write requirements.lock anew
	@tools/lock.sh

clean: ## Remove what the set-up made
	@rm -rf .venv .services
