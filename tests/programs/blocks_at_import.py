"""The main thread of `stage.py`, which never comes out of importing this.

Only a main thread handles signals, so that is here too.
"""

import os
import signal

from stage import STAGE


def handler(number, frame):
    def use(way):
        try:
            raise InterruptedError(number)
        except InterruptedError:
            way.wait()

    use(STAGE.gate)


signal.signal(signal.SIGUSR1, handler)


class Body:
    os.kill(os.getpid(), signal.SIGUSR1)
    # The handler runs at one of the next instructions, at the latest here.
    for number in range(1000000):
        pass
