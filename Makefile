# `make test` runs all tests on a machine that has Go, `make check` all that CI
# runs. RACE=1 adds the race detector to the tests.

.PHONY: help test test-mongo check lint fuzz api-check bootstrap

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*##/\t/' | expand -t 12

test: bootstrap ## install or build what the tests need, then run all tests
	scripts/test.sh

check: ## all that CI runs (.ci/run names its parts)
	.ci/run

lint: ## formatting, vet, staticcheck, govulncheck, generated files, go.mod, compose.yaml
	scripts/lint.sh

fuzz: ## every fuzz target for FUZZTIME (3s)
	scripts/fuzz.sh

test-mongo: ## the change feed on a server with change streams (needs python3 and PyPI, or mongod)
	scripts/test-mongo.sh

api-check: ## hold the service against its OpenAPI document (needs python3 and PyPI)
	scripts/api-check.sh

bootstrap: ## what the tests need: redis-server, PostgreSQL, Prometheus, a MongoDB-compatible server
	scripts/bootstrap.sh
