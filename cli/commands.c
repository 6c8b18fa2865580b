/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#define RULE_HELP                                                                                            \
    "A rule:   in=PORT [id=N] [priority=N] [onload] [FIELD=VALUE[/MASK]]... actions=ACTION[,ACTION]...\n"    \
    "Fields:   eth_src eth_dst eth_type vlan (0 or 1) vlan_vid vlan_pcp vlan_ad inner_vlan inner_vid\n"      \
    "          inner_pcp inner_ad ip_src ip_dst ip_proto tos ttl\n"                                          \
    "          ip_frag (no, yes, first, later, not-later)\n"                                                 \
    "          l4_src l4_dst icmp_type icmp_code tcp_flags (such as +syn-ack) tunnel_id\n"                   \
    "Short:    ip ipv6 arp tcp udp sctp icmp icmp6 tcp6 udp6 sctp6\n"                                        \
    "Actions:  output:PORT drop set_eth_src:MAC set_eth_dst:MAC set_ip_src:IP set_ip_dst:IP set_ttl:N\n"     \
    "          dec_ttl set_tos:N set_l4_src:N set_l4_dst:N push_vlan:0x8100 set_vlan_vid:N\n"                \
    "          set_vlan_pcp:N pop_vlan encap_raw:HEX decap_vxlan\n"                                          \
    "          encap_vxlan(eth_src=MAC,eth_dst=MAC,ip_src=IP,ip_dst=IP,vni=N[,udp_dst=N][,ttl=N][,tos=N])\n" \
    "The rule with the highest priority (0 to 65535, default 32768) counts.\n"

#define PORT_HELP "The port of a slice's interface may be written SLICE:NODE:INTERFACE.\n"

#define OFFLOAD_HELP                                                                                        \
    "Without a scope the whole node is meant. The smallest scope that says something counts: rule, port,\n" \
    "slice, node.\n" PORT_HELP                                                                              \
    "promote=RATE            mode auto offloads a rule at that rate: 1000, 1kpps (default 1000)\n"          \
    "demote=RATE             ... and takes it back when it was below this one (default 100) ...\n"          \
    "hold=TIME               ... for so long: 10s, 500ms (default 10s)\n"

#define SLICE_HELP \
    "Which slice: by its name, or by its file: -t FILE, or else the only *.vn.yml in the folder.\n"

const struct command commands[] = {
    {"doctor", "", "Tell what this machine has of what slices need, and how to mend what it lacks",
     "Changes nothing, and needs no running daemon. Each capability is ready, or something else does instead (fallback), or it\n"
     "is missing. Exit code 4 when something is missing that is needed.\n",
     command_doctor},
    {"validate", "FILE", "Check a slice file, and show each mistake with line and column",
     "FILE: NAME.vn.yml, as schema/slice.md describes; '-': standard input. Exit code 2 when it has mistakes.\n",
     command_validate},
    {"graph", "FILE [--as dot|mermaid]", "Draw the nodes and links of a slice file",
     "  vnode graph demo.vn.yml | dot -Tsvg > demo.svg\n", command_graph},
    {"plan", "[-t FILE]", "Tell what deploying a slice file would create, change and remove",
     "Changes nothing. " SLICE_HELP "Exit code 4: there is no room for it.\n", command_plan},
    {"deploy", "[-t FILE] [--dry-run | --reserve]", "Make a slice run, or a running one what its file says now",
     "All or nothing: when it fails, what ran before runs again. Ends when all nodes run; after Ctrl-C the manager\n"
     "goes on.\n" SLICE_HELP "--dry-run       as 'vnode plan'\n"
     "--reserve       keeps the slice's resources for it, and starts nothing\n"
     "Exit code 4: there is no room for it.\n",
     command_deploy},
    {"destroy", "[SLICE | -t FILE]", "End a slice, and remove all of it", SLICE_HELP, command_destroy},
    {"list", "", "List the slices that are deployed", NULL, command_list},
    {"inspect", "[SLICE | -t FILE]", "Show a slice's nodes, and what they do", SLICE_HELP, command_inspect},
    {"start", "[SLICE:]NODE [--slice SLICE | -t FILE]", "Start a node that was stopped", SLICE_HELP,
     command_node},
    {"stop", "[SLICE:]NODE [--slice SLICE | -t FILE]", "Stop a node; its links stay", SLICE_HELP, command_node},
    {"restart", "[SLICE:]NODE [--slice SLICE | -t FILE]", "Stop a node, and start it again", SLICE_HELP,
     command_node},
    {"exec", "[SLICE:]NODE [--slice SLICE | -t FILE] -- COMMAND [ARGUMENT]...",
     "Run a command in a machine or a namespace",
     "In a machine its guest agent runs it, without input; what it writes is shown when it has ended, by itself or by\n"
     "Ctrl-C. The command's exit status is that of vnode.\n" SLICE_HELP,
     command_exec},
    {"console", "[SLICE:]NODE [--slice SLICE | -t FILE] [--log]", "Be at a machine's serial console",
     "Ctrl-] leaves it.\n"
     "--log           prints what has come out of it so far\n" SLICE_HELP,
     command_console},
    {"usage", "", "Show what slices are promised and use, and the daemons", NULL, command_usage},
    {"events", "[--follow] [--slice SLICE]", "Show what has happened, or happens",
     "--follow, -f    goes on until Ctrl-C; with it, the fast path tells of ports and rules, too\n",
     command_events},
    {"port add", "NAME (vhost=PATH[,server=1] | dpdk=DEVARGS) [queues=N] [mtu=N] [slice=NAME]", "Add a port",
     "vhost=PATH      a guest, by vhost-user: connects to the socket PATH that QEMU serves, again and\n"
     "                again; with server=1, listens on PATH itself\n"
     "dpdk=DEVARGS    an uplink, by any DPDK driver: a PCI address, net_tap0,iface=tap0 and the like\n"
     "queues=N        receive and send queues at most (default 1)\n"
     "mtu=N           bytes behind the Ethernet and VLAN headers (default 9000)\n"
     "slice=NAME      whose port it is: offload modes and quotas are per slice, too\n",
     command_port_add},
    {"port del", "NAME", "Remove a port and the rules that name it", PORT_HELP, command_port_del},
    {"port list", "", "List the ports", NULL, command_port_list},
    {"port show", "NAME", "Show all about a port", PORT_HELP, command_port_show},
    {"port set", "NAME [rate=RATE] [burst=BYTES] [rate_out=RATE] [burst_out=BYTES]", "Limit the rate of a port",
     "rate=RATE       what its guest or uplink may send: 500Mbit, 2.5Gbit, each per second; none: no limit\n"
     "burst=BYTES     what it may send at once before that counts: 256KiB; none: as much as the rate gives in\n"
     "                10 ms (out: 200 ms), and at least 128 KiB\n"
     "rate_out=RATE   what may be sent to it, by all others together; what is more is dropped (tx-rate)\n"
     "burst_out=BYTES as burst\n"
     "A guest that has sent too much waits, and loses nothing. What is left out stays as it is.\n" PORT_HELP,
     command_port_set},
    {"rule add", "RULE | -f FILE", "Add a rule, or all rules of a file ('-': standard input)",
     RULE_HELP "A file has a rule on each line; empty lines and what stands behind '#' are passed over.\n",
     command_rule_add},
    {"rule del", "ID... | --port NAME | --all", "Remove rules: by id, of an input port, or all",
     "The rules forward no packet any more when the command ends.\n" PORT_HELP, command_rule_del},
    {"rule list", "[--port NAME]", "List the rules with their counters", PORT_HELP, command_rule_list},
    {"flows", "[--offloaded|--onload] [--slice S] [--port P] [--watch] [--ovs]",
     "List the rules of the vSwitch, the busiest first",
     "--offloaded, --onload   only those that the fast path executes, or does not\n"
     "--slice S, --port P     only those whose input port belongs to slice S, or is port P\n"
     "--watch                 again each second, until Ctrl-C\n"
     "--ovs                   spelled as 'ovs-appctl dpctl/dump-flows' spells its flows\n"
     "PACKETS and BYTES are what the fast path forwarded by the rule; ONLOAD is what went to the vSwitch.\n" PORT_HELP,
     command_flows},
    {"offload show", "", "Show the offload modes, limits and counts", NULL, command_offload_show},
    {"offload on", "[--slice S | --port P | --rule ID] [PARAMETER=VALUE]...", "Offload rules at once",
     OFFLOAD_HELP, command_offload_mode},
    {"offload off", "[--slice S | --port P | --rule ID] [PARAMETER=VALUE]...",
     "Take rules back, and offload none", OFFLOAD_HELP, command_offload_mode},
    {"offload auto", "[--slice S | --port P] [PARAMETER=VALUE]...", "Offload the rules that are busy",
     OFFLOAD_HELP, command_offload_mode},
    {"offload inherit", "(--slice S | --port P) [PARAMETER=VALUE]...", "Do as the slice, or the node, says",
     OFFLOAD_HELP, command_offload_mode},
    {"offload set", "[--slice S | --port P] PARAMETER=VALUE...", "Set parameters, not the mode",
     OFFLOAD_HELP "Of the node only:\n"
                  "table=N                 offloaded rules at most; 0: no limit of its own\n"
                  "moves=N                 rules that begin to move in a second, at most\n"
                  "orphans=TIME            how long the rules of a vSwitch that has gone are kept\n",
     command_offload_set},
    {"offload pin", "ID...", "Offload rules of the vSwitch whatever the modes say", NULL, command_offload_pin},
    {"offload unpin", "ID...", "Let the modes decide about rules again", NULL, command_offload_pin},
    {"offload why", "ID", "Tell why a rule of the vSwitch is not offloaded", NULL, command_offload_why},
    {"slice list", "", "List the slices with their quotas and what they use", NULL, command_slice_list},
    {"slice set", "NAME [rules=N] [masks=N] [operations=N]", "Set a slice's quotas; 0: no limit",
     "rules=N                 rules of the vSwitch, of all its ports together\n"
     "masks=N                 different masks among its rules, the sum of all ports\n"
     "operations=N            rules added and removed in a second\n"
     "What is over quota stays onload, and is tried again.\n",
     command_slice_set},
    {"moves", "", "Show how rules moved into the fast path, and how long it took", NULL, command_moves},
    {"stats", "[PORT]", "Show the ports' counters", PORT_HELP, command_stats},
    {"perf", "", "Show what the workers spend their time on", NULL, command_perf},
    {"drops", "", "Show how many packets were dropped, and why", NULL, command_drops},
    {"trace", "in=PORT (hex:DIGITS | [FIELD=VALUE]... [size=N])", "Tell what would happen to a packet, and why",
     "The packet is given by its bytes, or by fields as in a rule (see 'vnode rule add --help'); what is\n"
     "not given has a default. Nothing is sent and no counter changes.\n"
     "  vnode trace in=vm1 tcp ip_src=10.0.0.1 ip_dst=10.0.0.2 l4_dst=80\n" PORT_HELP,
     command_trace},
    {"capture", "PORT -w FILE|- [-s BYTES] [-c COUNT]", "Write the packets of a port to a pcapng file",
     "-w FILE         the file; '-': standard output, for example into 'tcpdump -r -' or 'wireshark -k -i -'\n"
     "-s BYTES        keep that much of each packet (default: all)\n"
     "-c COUNT        end after that many packets (default: with Ctrl-C)\n"
     "Packets that the reader is too slow for are left out and counted; the port is not slowed down.\n" PORT_HELP,
     command_capture},
    {"version", "", "Show the versions of this program and the fast path", NULL, command_version},
    {"eval", "[--quick] [--guests vm|loadgen] [--json FILE] [--output DIRECTORY] [OPTION]...",
     "Measure throughput and CPU over 1 to 8 guests, onload and offload",
     "In the source tree that vnode was built from: what './run eval' does there, on a node of its own.\n"
     "--quick         a small part of it, within two minutes\n"
     "--guests KIND   virtual machines, or the load generator's, which saturate the switch (default: both)\n"
     "--json FILE     where a line of JSON for each cell goes\n"
     "--output DIR    where table and plots go\n"
     "'./run eval --help' lists all options; docs/evaluation.md says how to read the figures.\n",
     command_eval},
    {"completion", "bash|zsh", "Print a completion script for the shell",
     "For bash:  source <(vnode completion bash)\n"
     "For zsh:   vnode completion zsh > DIRECTORY/_vnode, with DIRECTORY in $fpath\n",
     command_completion},
    {"fastpath stop", "", "Stop the fast path; a manager starts it again", NULL, command_stop},
    {0},
};
