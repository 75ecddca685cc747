# Short names for the scripts in tools/.
.PHONY: setup demo test check format ci

setup:
	tools/setup --checks

demo:
	tools/demo

test:
	tools/test

check:
	tools/check

format:
	tools/check --fix

ci:
	.ci/run
