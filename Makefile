# RACE=1 adds the race detector.

.PHONY: test bootstrap

test: bootstrap ## install or build what the tests need, then run all of them
	scripts/test.sh

bootstrap: ## redis-server, a MongoDB-compatible server, and nothing that is there already
	scripts/bootstrap.sh
