# SPDX-License-Identifier: Apache-2.0
"""Children that a test talks to through pipes, and awaits; Scene.start() is for those that only write a log."""
import ctypes
import os
import select
import signal
import subprocess
import time

from harness import Failure

PR_SET_PDEATHSIG = 1
IN_MODIFY = 2  # inotify(7)
_libc = ctypes.CDLL(None, use_errno=True)


def start(scene, command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE):
    """A process that ends with the scene at the latest; what it prints is for await_word() and communicate()."""
    process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, text=True,
                               preexec_fn=lambda: _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
    scene.processes.append(process)
    return process


def await_word(process, word, seconds=10):
    """Returns True when the process has printed 'word', and False when it has ended without it."""
    deadline = time.monotonic() + seconds
    printed = ""
    while word not in printed:
        if not select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
            raise Failure(f"{process.args} has not said '{word}' after {seconds} s, but: {printed}")
        piece = os.read(process.stdout.fileno(), 4096)
        if not piece:
            return False
        printed += piece.decode(errors="replace")
    return True


def await_content(process, path, seconds=10):
    """Returns when the process has written to the file, whose folder exists, or has ended."""
    deadline = time.monotonic() + seconds
    watch = _libc.inotify_init1(os.O_CLOEXEC)
    end = os.pidfd_open(process.pid)
    try:
        if _libc.inotify_add_watch(watch, os.path.dirname(path).encode(), IN_MODIFY) < 0:
            raise OSError(ctypes.get_errno(), f"cannot watch {path}")
        while not (os.path.exists(path) and os.path.getsize(path)):
            ready = select.select([watch, end], [], [], max(0, deadline - time.monotonic()))[0]
            if end in ready:
                return
            if not ready:
                raise Failure(f"{process.args} has written nothing after {seconds} s")
            os.read(watch, 4096)
    finally:
        os.close(end)
        os.close(watch)
