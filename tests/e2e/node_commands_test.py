#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the documents say can be done is done: each command that 'vnode --help' lists, each example, each command of README.md."""
import glob
import os
import re
import shlex
import signal
import subprocess

from switch_host import HERE  # and where to find the following
import child
from harness import Failure, build_path, wait_until
from managed_guests import run_node_cases
from managed_node import RUN
from network import run

ROOT = os.path.join(HERE, "..", "..")
SLICE = """name: all
nodes:
  m: {kind: vm, memory: 256MiB, interfaces: {eth0: {address: 10.5.0.1/24}}}
  t: {kind: netns, interfaces: {eth0: {address: 10.5.0.2/24}}}
  sw: {kind: switch}
links: [[m, sw], [t, sw]]
"""
BOOT_SECONDS_MAX = 60


def listed_commands(node):
    text = node.vnode("--help")
    return re.findall(r"^  ([a-z]+(?: [a-z]+)?)  +[A-Z]", text[text.index("Commands:"):text.index("Options:")], re.MULTILINE)


class Commands:
    """Runs commands, and notes which."""

    def __init__(self, node):
        self.node = node
        self.listed = listed_commands(node)
        self.done = set()

    def note(self, words):
        name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in self.listed), None)
        if not name:
            raise Failure(f"'vnode --help' does not list '{' '.join(words)}'")
        if name not in self.done and "Usage: vnode" not in self.node.vnode(*name.split(), "--help"):
            raise Failure(f"'vnode {name} --help' does not help")
        self.done.add(name)

    def __call__(self, line, says="", **options):
        """Runs a line, as a table and as JSON would be too much for what changes things; checks what it prints."""
        words = shlex.split(line)
        self.note(words)
        printed = self.node.vnode(*words, **options)
        if says not in printed:
            raise Failure(f"'vnode {line}' printed: {printed}")
        return printed

    def begin(self, line, **options):
        self.note(shlex.split(line))
        return child.start(self.node.scene, self.node.vnode_words(*shlex.split(line)), **options)

    def check_all(self):
        if set(self.listed) != self.done:
            raise Failure(f"these commands are not run by this test: {sorted(set(self.listed) - self.done)}")


def each_command_is_run(scene, node):
    node.start()
    vnode, file = Commands(node), node.write(SLICE)
    subprocess.run(node.vnode_words("doctor"), stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    vnode.note(["eval"])  # e2e-eval runs what it starts
    vnode.note(["doctor"])  # what it finds depends on the machine: cli/doctor_test.py
    run_slice_commands(vnode, file)
    run_offload_commands(vnode, node)
    run_port_commands(vnode, scene)
    vnode(f"destroy -t {file}", "destroyed")
    stopped = node.pids()["vnode-fastpath"]
    vnode("fastpath stop")
    wait_until(lambda: node.pids()["vnode-fastpath"] not in (0, stopped) and fast_path_answers(node), 30,
               "the fast path is not started again")
    node.check_nothing_left()
    vnode.check_all()


def fast_path_answers(node):
    return subprocess.run(node.vnode_words("port", "list"), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30,
                          check=False).returncode == 0


def run_slice_commands(vnode, file):
    vnode(f"validate {file}")
    vnode(f"graph {file} --as dot", "graph")
    vnode(f"plan -t {file}", "create")
    events = vnode.begin("events --follow")
    vnode(f"deploy -t {file}", "running")
    if not child.await_word(events, "slice-running"):
        raise Failure("'vnode events --follow' ended")
    events.kill()
    vnode("list", "all")
    vnode("inspect all", "10.5.0.1/24")
    vnode("usage", "ovs-vswitchd")
    vnode("events --slice all", "slice-running")
    vnode("exec all:m -- hostname", "m")
    interrupt_in_machine(vnode)
    vnode("console all:m --log")
    console = vnode.begin("console all:m", stdin=subprocess.PIPE)
    if console.communicate("\x1d", timeout=30) and console.returncode:
        raise Failure(f"'vnode console' ended with status {console.returncode}")
    vnode("stop t --slice all")
    vnode("start all:t")
    vnode("restart t --slice all")
    vnode("completion bash", "complete")
    vnode("completion zsh", "compdef")
    vnode("version", "vnode")


def interrupt_in_machine(vnode):
    """Ctrl-C ends the command in the machine, too; what it has written until then is shown."""
    command = vnode.begin("exec all:m -- sh -c 'echo begun; exec sleep 321'")
    wait_until(lambda: sleeps_in_machine(vnode), 30, "the command does not run")
    command.send_signal(signal.SIGINT)
    printed, errors = command.communicate(timeout=30)
    if command.returncode != 130 or printed != "begun\n" or sleeps_in_machine(vnode):
        raise Failure(f"interrupted, 'vnode exec' ended with status {command.returncode}: {printed} {errors}")


def sleeps_in_machine(vnode):
    return any(line.endswith(" sleep 321") and "sh" not in line for line in vnode("exec all:m -- ps").splitlines())


def run_offload_commands(vnode, node):
    vnode("offload off --slice all")
    wait_until(lambda: "1 packets received" in run("ip netns exec all.t busybox ping -c 1 -W 1 10.5.0.1", check=False),
               BOOT_SECONDS_MAX, "all:m does not answer")
    pinging = child.start(node.scene, ["ip", "netns", "exec", "all.t", "busybox", "ping", "-i", "0.1", "10.5.0.1"])
    flow = wait_until(lambda: next((flow["id"] for flow in node.json("flows", "--slice", "all")
                                    if flow["in"] == "all.t.eth0"), None), 30, "no rule of the vSwitch appears")
    vnode("flows --slice all", "all.t.eth0")
    vnode(f"offload why {flow}")
    vnode(f"offload pin {flow}")
    vnode(f"offload unpin {flow}")
    vnode("offload on --slice all")
    vnode("offload auto --slice all promote=1kpps")
    vnode("offload set --slice all hold=5s")
    vnode("offload inherit --slice all")
    vnode("offload show", "all")
    vnode("slice set all rules=100 masks=10 operations=100")
    vnode("slice list", "all")
    vnode("moves")
    pinging.kill()


def run_port_commands(vnode, scene):
    vnode("port add spare dpdk=net_null0,copy=0")
    vnode("port set spare rate=1Mbit")
    vnode("port list", "spare")
    vnode("port show spare", "spare")
    vnode("rule add in=spare id=7 actions=drop")
    vnode("rule list --port spare", "drop")
    vnode("trace in=spare ip_src=10.0.0.1", "drop")
    vnode(f"capture spare -w {scene.path('spare.pcapng')} -c 1")
    vnode("stats spare", "spare")
    vnode("perf")
    vnode("drops")
    vnode("rule del 7")
    vnode("port del spare")


def with_controller(scene):
    scene.start("controller", ["/usr/bin/osken-manager", "--ofp-listen-host", "127.0.0.1",
                               os.path.join(HERE, "learning_controller.py")])


def with_two_ports(scene):
    for name in ("eth1", "eth2"):
        run(f"ip link add {name} type veth peer name {name}-peer && ip link set {name} up && ip link set {name}-peer up")


def has_vlans():
    """Whether this kernel has VLANs: tried in a namespace that is thrown away."""
    return not subprocess.run(["unshare", "-n", "ip", "link", "add", "link", "lo", "name", "v5", "type", "vlan", "id", "5"],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False).returncode


# Each example, what it needs, and what shows that it works: one node reaches an address.
EXAMPLES = {
    "chain.vn.yml": (None, None),  # it is for its owner to say what the two machines pass on
    "duo.vn.yml": (None, None),
    "controller.vn.yml": (with_controller, ("own-control:a", "10.2.0.2")),
    "pair.vn.yml": (None, None),
    "switch.vn.yml": (None, ("demo:t", "10.0.0.1")),
    "two-ports.vn.yml": (with_two_ports, None),
}


def each_example_runs(scene, node):
    node.start()
    found = {os.path.basename(path): path for path in glob.glob(os.path.join(ROOT, "examples", "*.vn.yml"))}
    if set(found) != set(EXAMPLES):
        raise Failure(f"there are the examples {sorted(found)}, and this test runs {sorted(EXAMPLES)}")
    for name, (prepare, reach) in EXAMPLES.items():
        path = found[name]
        if prepare:
            prepare(scene)
        node.vnode("validate", path)
        for language in ("dot", "mermaid"):
            node.vnode("graph", path, "--as", language)
        if not node.json("plan", "-t", path)["changes"]:
            raise Failure(f"{name}: nothing is planned")
        if "vlan:" in open(path, encoding="utf-8").read() and not has_vlans():
            node.vnode("deploy", "-t", path, code=1, says="this kernel has no VLANs")
            continue
        node.vnode("deploy", "-t", path)
        if node.json("plan", "-t", path)["changes"]:
            raise Failure(f"{name}: there are changes to what has just been deployed")
        slice_ = node.json("inspect", "-t", path)
        if {entry["state"] for entry in slice_["nodes"]} != {"running"}:
            raise Failure(f"{name}: {slice_}")
        if reach:
            wait_until(lambda reach=reach: reaches(node, reach), BOOT_SECONDS_MAX, f"{name}: {reach[0]} does not reach {reach[1]}")
        node.vnode("destroy", "-t", path)
        print(f"# {name} ran", flush=True)
    for name in ("eth1", "eth2"):
        run(f"ip link del {name}")
    node.check_nothing_left()


def reaches(node, way):
    name, address = way
    done = subprocess.run(node.vnode_words("exec", name, "--", "busybox", "ping", "-c", "1", "-W", "2", address),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode == 0


def readme_commands(heading):
    """The commands of the indented blocks under a heading of README.md; lines that end in '\\' are joined, comments left out."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        text = file.read().replace("\\\n", " ")
    part = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if not part:
        raise Failure(f"README.md has no part '{heading}'")
    return [re.sub(r"\s+#.*", "", line) for line in re.findall(r"^ {4}(\S.*)$", part[1], re.MULTILINE)]


def run_slice_line(node, line):
    """One of the lines with 'vnode' under "A slice". Returns what goes on in the background, or None."""
    line = line.replace("examples/", f"{ROOT}/examples/").replace("-t 60", "-t 5")
    words = shlex.split(line.partition("|")[0].rstrip("& "))[1:]
    if words[0] in ("console", "capture"):
        shell = line.replace("vnode", shlex.join(node.vnode_words()), 1)
        subprocess.run(["sh", "-c", shell], input=b"\x1d", capture_output=True, timeout=60, check=True)
    elif line.endswith("&"):
        return child.start(node.scene, node.vnode_words(*words))
    else:
        node.vnode(*words)
    return None


def the_readme_runs(scene, node):
    node.start()  # what './run node' does
    ran, behind = 0, []
    for line in readme_commands("A slice"):
        if line.startswith("vnode "):
            behind.append(run_slice_line(node, line))
            ran += 1
    for process in filter(None, behind):
        process.wait(60)
    node.take_down()
    for line in readme_commands("The fast path alone"):
        run_plugging(scene, node, [word for word in shlex.split(line) if word != "sudo"])
        ran += 1
    if ran < 15:
        raise Failure(f"README.md has {ran} commands only")


def run_plugging(scene, node, words):
    if words[0] == "build/fastpath/vnode-fastpath":
        scene.start("fastpath", [build_path("fastpath/vnode-fastpath"), *words[1:]])
        wait_until(lambda: os.path.exists(f"{RUN}/fastpath.sock"), 30, "the fast path does not listen")
    elif words[0] == "qemu-system-x86_64":
        disk = scene.path("disk.img")
        run(f"truncate -s 1M {disk}")
        # Without KVM, as README.md says.
        words = [{"kvm": "tcg", "file=disk.qcow2": f"file={disk},format=raw"}.get(word, word) for word in words]
        words = [word + ",vectors=0" if word.startswith("virtio-net-pci") else word for word in words]
        scene.start("qemu", [*words, "-display", "none"])
        wait_until(lambda: os.path.exists(f"{RUN}/vm1.sock"), 30, "QEMU does not serve its socket")
    elif words[0] == "vnode":
        node.vnode(*words[1:])
    elif words[0] not in ("./run", "mkdir"):
        raise Failure(f"README.md has a command that this test does not know: {words}")


if __name__ == "__main__":
    run_node_cases([each_command_is_run, each_example_runs, the_readme_runs])
