# SPDX-License-Identifier: Apache-2.0
"""What a benchmark borrows from the machine, and gives back: processes, a folder, hugepages.

    with System() as system:
        process = system.start(["sleep", "10"], core=0)
        ...

On the way out, by an error and Ctrl-C too, every process is ended (each by its own id), the folder
is removed, and the hugepages are as many as before.
"""
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HUGE_SIZE_MIB = 2
HUGE_COUNT = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
HUGE_FREE = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class BenchError(Exception):
    """A sentence for the user: what failed, and what to do."""


def build_directory():
    return os.environ.get("VNODE_BUILD", os.path.join(ROOT, "build"))


def built(path):
    """The path of a built program, such as "bench/loadgen/loadgen"."""
    full = os.path.join(build_directory(), path)
    if not os.access(full, os.X_OK):
        raise BenchError(f"{full} is not there; build it with ./run build")
    return full


def installed(path, package):
    found = shutil.which(path)
    if not found:
        raise BenchError(f"{path} is not there; install the Debian package {package}")
    return found


def read_number(path):
    with open(path, encoding="ascii") as file:
        return int(file.read())


def write_number(path, number):
    with open(path, "w", encoding="ascii") as file:
        file.write(str(number))


def wait_for(condition, seconds, what):
    """Waits until 'condition()' is true; its value. Polls: for conditions that nothing announces."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise BenchError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.005)


class Readiness:
    """A socket for NOTIFY_SOCKET, on which a program says that it is ready, as sd_notify(3) has it."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)

    def wait(self, process, seconds):
        """Returns whether it said so; it may have ended instead, or taken too long."""
        deadline = time.monotonic() + seconds
        end = os.pidfd_open(process.pid)
        try:
            while True:
                left = max(0, deadline - time.monotonic())
                ready = select.select([self.socket, end], [], [], left)[0]
                if self.socket not in ready:
                    return False
                if b"READY=1" in self.socket.recv(4096).split(b"\n"):
                    return True
        finally:
            os.close(end)

    def close(self):
        self.socket.close()
        os.unlink(self.path)


def threads_of(pid):
    """The threads of a process: (id, name) pairs."""
    found = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/comm", encoding="utf-8", errors="replace") as file:
                found.append((int(thread), file.read().strip()))
        except OSError:
            pass  # it has ended meanwhile
    return found


def cpu_seconds_of_threads(pid):
    """CPU time of each thread of a process: {(id, name): seconds}."""
    found = {}
    for thread, name in threads_of(pid):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
                found[thread, name] = int(file.read().split()[0]) / 1e9
        except OSError:
            pass
    return found


def run_first(threads):
    """Lets threads, which must sleep when they have nothing to do, run before all others. Returns whether that is allowed."""
    try:
        for thread in threads:
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    return True


class System:
    Error = BenchError

    def __init__(self):
        self.folder = None
        self.processes = []
        self.cleanups = []  # functions to be called on the way out, when all processes have ended
        self.huge_added = 0

    def __enter__(self):
        # SIGTERM and the closing of the terminal end a run as Ctrl-C does.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(1))
        self.folder = tempfile.mkdtemp(prefix="vnode-bench-")
        return self

    def __exit__(self, *_):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for process in reversed(self.processes):
            self.stop(process)
        for cleanup in self.cleanups:
            cleanup()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._return_hugepages()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self, command, core=None, log=None, environment=None, **options):
        """Starts a program on one core ('core' None: all). Its standard error goes to the file 'log'.

        Where that is allowed it runs before all else on the machine, so that other work disturbs less.
        """
        def prepare():
            os.setsid()  # Ctrl-C reaches us only; we end the rest in order
            if core is not None:
                os.sched_setaffinity(0, {core})
            if os.geteuid() == 0:
                os.setpriority(os.PRIO_PROCESS, 0, -20)
                # With autogroups, priorities count within a session only, and each session has one of its own.
                if os.path.exists("/proc/self/autogroup"):
                    with open("/proc/self/autogroup", "w", encoding="ascii") as file:
                        file.write("-20")

        with open(self.path(log or "log"), "ab") as log_file:
            process = subprocess.Popen(command, preexec_fn=prepare, stderr=log_file,
                                       env={**os.environ, **(environment or {})},
                                       stdout=options.pop("stdout", log_file),
                                       stdin=options.pop("stdin", subprocess.DEVNULL), **options)
        self.processes.append(process)
        return process

    def run(self, command):
        """Runs a program to its end, with the same priority; its output goes to a file."""
        process = self.start(command, log="run.log")
        if process.wait():
            raise BenchError(f"{command[0]} failed: {self.log_tail('run.log')}")
        self.processes.remove(process)

    def stop(self, process, seconds=5):
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass
        if process in self.processes:
            self.processes.remove(process)

    def log_tail(self, log, lines=5):
        try:
            with open(self.path(log), encoding="utf-8", errors="replace") as file:
                return "".join(file.readlines()[-lines:]).strip()
        except OSError:
            return ""

    def reserve_hugepages(self, mib):
        """Reserves hugepages beside those that are there, which others may be about to use.

        Returns whether there are enough now.
        """
        wanted = -(-mib // HUGE_SIZE_MIB)
        try:
            before = read_number(HUGE_COUNT)
            write_number(HUGE_COUNT, before + wanted)
            self.huge_added += read_number(HUGE_COUNT) - before
            if read_number(HUGE_FREE) >= wanted:
                return True
        except OSError:
            pass
        self._return_hugepages()
        return False

    def _return_hugepages(self):
        """As many as were added, but none of those in use."""
        try:
            if self.huge_added:
                count = read_number(HUGE_COUNT)
                in_use = count - read_number(HUGE_FREE)
                write_number(HUGE_COUNT, max(count - self.huge_added, in_use))
        except OSError:
            pass
        self.huge_added = 0
