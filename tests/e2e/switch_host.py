# SPDX-License-Identifier: Apache-2.0
"""What bench/openvswitch.py needs to run in a test: a Scene as its host, and Open vSwitch made for that."""
import os
import sys

from harness import Failure

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(HERE, "..", "integration"), os.path.join(HERE, "..", "..", "bench")]
from openvswitch import OpenVSwitch  # noqa: E402


class Host:
    Error = Failure

    def __init__(self, scene):
        self.scene = scene
        self.path = scene.path

    def start(self, command, core=None, log="log", environment=None):
        return self.scene.start(log.removesuffix(".log"), command, environment)

    @staticmethod
    def stop(process):
        process.terminate()
        process.wait(10)

    def log_tail(self, log, lines=5):
        with open(self.scene.log(log.removesuffix(".log")), encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-lines:])


def make_switch(scene, name="ovs", driver=None, settings=()):
    """An Open vSwitch that leaves the CPU alone when it has nothing to do, and meets no other DPDK process."""
    switch = OpenVSwitch(Host(scene), name=name, core=None, pmd_core=os.cpu_count() - 1, driver=driver,
                         settings=["pmd-maxsleep=200", "per-port-memory=true", *settings])
    # Not the folder in which DPDK processes of the machine meet.
    folder = scene.path(name + "-dpdk")
    os.mkdir(folder)
    switch.environment["RUNTIME_DIRECTORY"] = folder
    return switch
