#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: schema_test.py VNODE SOURCE: the published JSON schema and the parser say the same of the same files.

The schema knows no relation between items (a link's nodes, budgets): what only the parser can refuse is marked.
"""
import json
import os
import subprocess
import sys
import tempfile

import jsonschema
import yaml

VNODE, SOURCE = sys.argv[1:3]
NODES = "nodes: {a: {kind: vm}, b: {kind: netns}, s: {kind: switch}}\n"
GOOD = ["nodes: {}\n", NODES, NODES + "links: []\n", NODES + "links: [[a, s], {endpoints: [b, 's:p9'], rate: 1.5Gbit}]\n",
        "nodes: {a: {kind: vm, cpu: 2, memory: 1GiB, disk: 10GB, user-data: \"#cloud-config\\n\", cpu-pin: 2-3}}\n",
        "nodes: {a: {kind: vm, interfaces: {e: {kind: hybrid, mtu: 9000, queues: 4, mac: '52:54:00:00:00:01'}}}}\n",
        "nodes: {a: {kind: netns, interfaces: {e: {address: [10.0.0.1/8, 'fd00::1/64']}}}}\n",
        "nodes: {s: {kind: switch, controller: ['tcp:1.2.3.4:1', 'ssl:1.2.3.4:1'], fail-mode: secure}}\n",
        "nodes: {u: {kind: connector, device: '0000:01:00.0', vlan: 5}}\n",
        "nodes: {}\nlease: 30 min\nbudget: {cpu: 1, memory: 1MiB, rate: 1Mbit, rules: 1}\noffload: {mode: off_}\n"
        .replace("off_", "'off'")]
BAD = ["", "nodes: []\n", "nodes: {a: {}}\n", "nodes: {a: {kind: wm}}\n", "nodes: {1a: {kind: vm}}\n",
       "nodes: {a: {kind: vm, cpu: 0}}\n", "nodes: {a: {kind: vm, cpu: many}}\n", "nodes: {a: {kind: vm, memory: 1}}\n",
       "nodes: {a: {kind: vm, vlan: 1}}\n", "nodes: {a: {kind: netns, cpu: 1}}\n", "nodes: {u: {kind: connector}}\n",
       "nodes: {u: {kind: connector, device: 'a,b'}}\n", "nodes: {s: {kind: switch, controller: 'udp:x'}}\n",
       "nodes: {a: {kind: vm, interfaces: {e: {mtu: 9001}}}}\n", "nodes: {a: {kind: vm, interfaces: {e: {mac: x}}}}\n",
       "nodes: {a: {kind: vm, interfaces: {e: {address: x}}}}\n", "nodes: {a: {kind: vm, interfaces: {e: {kind: x}}}}\n",
       NODES + "links: {}\n", NODES + "links: [[a]]\n", NODES + "links: [{rate: 1Mbit}]\n",
       NODES + "links: [{endpoints: [a, b], rate: 1}]\n", NODES + "links: [{endpoints: [a, b], delay: 1ms}]\n",
       NODES + "lease: 8\n", NODES + "budget: {disk: 1GiB}\n", NODES + "offload: {mode: maybe}\n",
       NODES + "offload: {promote: 1k}\n", NODES + "colour: red\n"]
BAD_BY_MEANING = [NODES + "links: [[a, c]]\n", NODES + "links: [[a, a]]\n", NODES + "budget: {cpu: 1}\nlinks: [['a:e', b], ['a:e', s]]\n"]


def parser_accepts(text):
    with tempfile.NamedTemporaryFile("w", suffix=".vn.yml") as file:
        file.write(text)
        file.flush()
        done = subprocess.run([VNODE, "validate", file.name], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 2), done
    assert not done.returncode or f"{file.name}:" in done.stderr, done
    return done.returncode == 0


def main():
    with open(os.path.join(SOURCE, "schema", "slice.schema.json"), encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    cases = [("name: x\n" + text, True, True) for text in GOOD]
    cases += [("name: x\n" + text if text else text, False, False) for text in BAD]
    cases += [("name: x\n" + text, True, False) for text in BAD_BY_MEANING]
    folder = os.path.join(SOURCE, "examples")
    for name in sorted(os.listdir(folder)):
        if name.endswith(".vn.yml"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                cases.append((file.read(), True, True))
    print(f"1..{len(cases)}")
    failed = False
    for number, (text, by_schema, by_parser) in enumerate(cases, 1):
        is_good = (validator.is_valid(yaml.safe_load(text)), parser_accepts(text)) == (by_schema, by_parser)
        failed |= not is_good
        summary = text.replace("\n", " ").replace("#", "")[:60]
        print(f"{'ok' if is_good else 'not ok'} {number} - {summary}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
