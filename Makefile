# Short names for the scripts in tools/.
.PHONY: setup demo unit test check format ci

setup:
	tools/setup --checks

demo:
	tools/demo

unit:
	tools/unit

test:
	tools/test

check:
	tools/check

format:
	tools/check --fix

ci:
	.ci/run
