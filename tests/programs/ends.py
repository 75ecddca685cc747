"""A program whose main thread has ended, unlike another one: ends.py FACTS_FILE [own]

own: its main thread waits for a lock, in a function that only looks like one of `threading`.
"""

import json
import os
import runpy
import sys
import threading

FACTS_FILE = sys.argv[1]
OWN = """
import _thread
def _shutdown():
    lock = _thread.allocate_lock()
    lock.acquire()
    lock.acquire()
"""

threading.Thread(target=os.read, args=(os.pipe()[0], 1), name="goes on").start()
with open(FACTS_FILE + ".part", "w") as file:
    json.dump({"threads": 2}, file)
os.rename(FACTS_FILE + ".part", FACTS_FILE)
if sys.argv[2:] == ["own"]:
    path = os.path.join(os.path.dirname(FACTS_FILE), "threading.py")
    with open(path, "w") as file:
        file.write(OWN)
    runpy.run_path(path)["_shutdown"]()
