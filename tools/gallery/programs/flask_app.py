"""Requests that compute and wait."""

import time

from flask import Flask

app = Flask(__name__)


def slow_query() -> int:
    time.sleep(0.02)
    return sum(value * value for value in range(100_000))


@app.route("/")
def index() -> str:
    return str(slow_query())
