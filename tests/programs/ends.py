"""A program whose main thread has ended, unlike another one: ends.py FACTS_FILE"""

import json
import os
import sys
import threading

threading.Thread(target=os.read, args=(os.pipe()[0], 1), name="goes on").start()
with open(sys.argv[1] + ".part", "w") as file:
    json.dump({"threads": 2}, file)
os.rename(sys.argv[1] + ".part", sys.argv[1])
