"""Starts programs for damage_test.py and measures them. A process of its own that stays small: the memory that the
system notes for a program begins with what its parent held."""
import json
import os
import resource
import sys
import time


def run(words, out, err):
    begin = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
                                        (2, err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)):
                os.dup2(os.open(path, flags), number)
            os.execv(words[0], words)
        finally:
            os._exit(127)
    _, status, usage = os.wait4(child, 0)
    return {"code": os.waitstatus_to_exitcode(status), "wall": time.monotonic() - begin,
            "seconds": usage.ru_utime + usage.ru_stime,
            "memory": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)}


for line in sys.stdin:
    print(json.dumps(run(*json.loads(line))), flush=True)
