"""Run a command and write down what it cost: python launch.py RESULT COMMAND …

A process of its own, because the system counts to the memory of a process what its parent held when it began: this
one holds next to nothing.
"""

import json
import os
import sys
import time


def main():
    result, *command = sys.argv[1:]
    began = time.perf_counter()
    process = os.posix_spawnp(command[0], command, os.environ)
    _, status, used = os.wait4(process, 0)
    wall = time.perf_counter() - began
    found = {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak": 1024 * used.ru_maxrss}
    with open(result, "w") as file:  # noqa: PTH123 (pathlib would be a large part of what this process holds)
        json.dump(found, file)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
