"""What processes use of the machine: what can be compared where other work runs beside them."""

import os
from pathlib import Path

_PROCESSES = Path("/proc")


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and of all that it has started; 0 where the system does not tell."""
    parents: dict[int, list[int]] = {}
    used: dict[int, float] = {}
    for place in _PROCESSES.glob("[0-9]*"):
        try:
            # After the program's name, which may hold anything: the parent, and the times, with those of children who
            # have ended (proc(5)).
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        parents.setdefault(int(fields[1]), []).append(int(place.name))
        used[int(place.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    waiting, sum_ = [pid], 0.0
    while waiting:
        one = waiting.pop()
        sum_ += used.get(one, 0.0)
        waiting += parents.get(one, [])
    return sum_
