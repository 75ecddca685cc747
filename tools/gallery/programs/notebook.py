"""A Jupyter kernel that runs a cell for longer than anybody records."""

import sys

from jupyter_client.manager import start_new_kernel

CELL = """
def collatz(number):
    steps = 0
    while number != 1:
        number = 3 * number + 1 if number % 2 else number // 2
        steps += 1
    return steps

longest = max(map(collatz, range(1, 10**9)))
"""


def main() -> None:
    manager, client = start_new_kernel(kernel_name="python3")
    client.execute(CELL)
    while True:
        message = client.get_iopub_msg(timeout=60)
        if message["header"]["msg_type"] == "execute_input":
            break
    print(manager.provisioner.pid, flush=True)
    sys.stdin.read()
    client.stop_channels()
    manager.shutdown_kernel(now=True)


main()
