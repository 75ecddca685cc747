"""Many threads that wait for one lock, in the same line, and one that holds it.

one_lock.py FACTS_FILE COUNT
"""

import json
import os
import sys
import threading

LOCK = threading.Lock()


def take():
    with LOCK:
        pass


threading.stack_size(1 << 18)
LOCK.acquire()
for _ in range(int(sys.argv[2])):
    threading.Thread(target=take, daemon=True).start()
with open(sys.argv[1] + ".part", "w") as file:
    json.dump({"threads": threading.active_count()}, file)
os.rename(sys.argv[1] + ".part", sys.argv[1])
os.read(os.pipe()[0], 1)
