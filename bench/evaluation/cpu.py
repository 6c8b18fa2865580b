# SPDX-License-Identifier: Apache-2.0
"""The host's share of the CPU: what was busy without being a guest.

On a machine that does nothing else this is 100 % - idle - guest, as mpstat(1) has it. Here it is summed up from the CPU time of the
host's own processes, so that other work on the machine does not count. The threads that are guests are left out: QEMU's virtual
CPUs, which under emulation the kernel does not know as guest time, and the load generator. So is what plays TARGET, which is another machine.
"""
import os
import time

from harness.system import cpu_seconds_of_threads


def is_virtual_cpu(name):
    """QEMU calls such a thread "CPU 0/TCG", or "CPU 0/KVM"."""
    return name.startswith("CPU ")


class HostCpu:
    """CPU time of processes, from begin() on. Those of their threads that are virtual CPUs do not count."""

    def __init__(self, pids):
        self.pids = pids

    def _seconds(self):
        return {(pid, thread): seconds for pid in self.pids for (thread, name), seconds in cpu_seconds_of_threads(pid).items()
                if not is_virtual_cpu(name)}

    def begin(self):
        self.before, self.start = self._seconds(), time.monotonic()
        return self

    def percent(self, seconds=None):
        """Of the whole machine, as mpstat has it; over 'seconds', or else the time since begin()."""
        seconds = seconds or time.monotonic() - self.start
        used = sum(now - self.before.get(key, 0) for key, now in self._seconds().items())
        return 100 * used / seconds / os.cpu_count()
