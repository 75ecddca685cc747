"""Runs a server and sends it requests, until the input ends: serve.py ARGUMENTS OF PYTHON, with {port} in them.

Prints the server's pid when it answers."""

import socket
import subprocess
import sys
import threading
import urllib.request

CLIENTS = 6


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ask(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
            answer.read()
        return True
    except OSError:
        return False


def main() -> None:
    port = free_port()
    arguments = [word.replace("{port}", str(port)) for word in sys.argv[1:]]
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        while server.poll() is None and not ask(port):
            pass
        over = threading.Event()

        def client() -> None:
            while not over.is_set():
                ask(port)

        clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in clients:
            thread.start()
        print(server.pid, flush=True)
        sys.stdin.read()
        over.set()
        for thread in clients:
            thread.join()
        server.terminate()


main()
