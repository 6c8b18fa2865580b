/* SPDX-License-Identifier: Apache-2.0 */
/* What slices take, found out without any machine. */
#include "manager/plan.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct reconcile_settings settings = {
    .run_folder = "/run/vnode",
    .state_folder = "/var/lib/vnode",
    .fastpath_socket = "/run/vnode/fastpath.sock",
    .guest_kernel = "/k",
    .guest_initrd = "/i",
    .hardware = true,
};

/* A slice and its plan; both are the test's until release(). */
static struct slice *slice;
static struct plan *plan;

static void parse(const char *text)
{
    struct slice_errors errors;

    slice = slice_parse(text, strlen(text), &errors);
    if (!slice)
        fail_msg("%u:%u: %s", errors.list[0].at.line, errors.list[0].at.column, errors.list[0].text);
}

static void make(const char *text, const char *stopped)
{
    struct error error;

    parse(text);
    plan = plan_make(&(struct slice_wish){.slice = slice, .n_stopped = stopped != NULL, .stopped = &stopped},
                     &settings, &error);
    if (!plan)
        fail_msg("%s", error.text);
}

static void release(void)
{
    plan_free(plan);
    slice_free(slice);
    plan = NULL;
    slice = NULL;
}

/* The slice cannot be had, for this reason. */
static void refuse(const char *text, int code, const char *sentence)
{
    struct error error;

    parse(text);
    assert_null(plan_make(&(struct slice_wish){.slice = slice}, &settings, &error));
    assert_string_equal(error.text, sentence);
    assert_int_equal(error.code, code);
    release();
}

static const char *option(const struct bridge_port *port, const char *key)
{
    for (unsigned i = 0; i < port->n_options; i++)
        if (!strcmp(port->options[i].key, key))
            return port->options[i].value;
    return "";
}

static void machines(void **state)
{
    const struct vm_spec *spec;

    make("name: demo\nnodes:\n"
         "  a: {kind: vm, cpu: 2, memory: 1GiB, cpu-pin: 2-3, interfaces: {eth0: {address: [10.0.0.1/24, fd00::1/64], "
         "mtu: 9000, queues: 4}, eth1: {mac: \"52:54:00:00:00:01\"}}}\n"
         "  b: {kind: vm, image: /images/b.qcow2, disk: 4GiB}\n"
         "links:\n  - [\"a:eth0\", \"b:eth0\"]\n",
         NULL);
    assert_int_equal(plan->n_machines, 2);
    spec = &plan->machines[0].spec;
    assert_string_equal(spec->name, "demo.a");
    assert_int_equal(spec->cpu, 2);
    assert_int_equal(spec->memory, 1 << 30);
    assert_string_equal(spec->cpu_pin, "2-3");
    assert_true(spec->hardware);
    assert_string_equal(spec->kernel, "/k");
    assert_string_equal(spec->console, "/var/lib/vnode/slices/demo/a.console");
    assert_string_equal(spec->agent, "/run/vnode/slices/demo/a.agent");
    assert_int_equal(spec->n_nics, 2);
    assert_string_equal(spec->nics[0].socket, "/run/vnode/sockets/demo/a.eth0.sock");
    assert_int_equal(spec->nics[0].queues, 4);
    assert_int_equal(spec->nics[0].mtu, 9000);
    assert_string_equal(spec->nics[1].mac, "52:54:00:00:00:01");
    assert_int_equal(spec->nics[1].mtu, 1500);
    assert_non_null(strstr(spec->command_line, " vnode.name=a vnode.if=eth0,"));
    assert_non_null(strstr(spec->command_line, ",9000,10.0.0.1/24,fd00::1/64 "
                                               "vnode.if=eth1,52:54:00:00:00:01,1500"));
    assert_string_equal(spec->disk, "");
    spec = &plan->machines[1].spec;
    assert_string_equal(spec->kernel, "");
    assert_int_equal(strncmp(spec->disk, "/var/lib/vnode/slices/demo/b.", 29), 0);
    assert_string_equal(spec->seed, "/var/lib/vnode/slices/demo/b.seed");
    assert_int_equal(spec->nics[0].mtu, 9000); /* of the link */
    release();
}

/* A MAC address is the node's own: it stays, is locally administered, and no group's. */
static void addresses_stay(void **state)
{
    static const char text[] = "name: %s\nnodes:\n  a: {kind: vm}\n  b: {kind: vm}\nlinks:\n  - [a, b]\n";
    char macs[2][3][18], one[200];

    for (unsigned i = 0; i < 3; i++) {
        snprintf(one, sizeof one, text, i == 1 ? "other" : "demo");
        make(one, NULL);
        for (unsigned j = 0; j < 2; j++) {
            strcpy(macs[j][i], plan->machines[j].spec.nics[0].mac);
            assert_int_equal(strtoul(macs[j][i], NULL, 16) & 3, 2);
        }
        release();
    }
    assert_string_equal(macs[0][0], macs[0][2]);
    assert_string_not_equal(macs[0][0], macs[0][1]);
    assert_string_not_equal(macs[0][0], macs[1][0]);
}

static const char on_switch[] = "name: demo\nnodes:\n"
                                "  a: {kind: vm, interfaces: {eth0: {queues: 2, mtu: 4000}}}\n"
                                "  t: {kind: netns, interfaces: {eth0: {address: 10.0.0.3/24}}}\n"
                                "  sw: {kind: switch, controller: \"tcp:127.0.0.1:6653\", fail-mode: secure}\n"
                                "  next: {kind: switch}\n"
                                "links:\n"
                                "  - {endpoints: [a, \"sw:p7\"], rate: 500Mbit, min: 200Mbit}\n"
                                "  - [t, \"sw:lan\"]\n"
                                "  - [sw, next]\n"
                                "offload: {mode: auto, promote: 2kpps, demote: 10pps, hold: 5s}\n"
                                "budget: {rules: 100, rate: 1Gbit}\n";

static void switches(void **state)
{
    const struct bridge_port *ports;
    char name[INTERFACE_NAME_SIZE], wanted[200];

    make(on_switch, NULL);
    assert_int_equal(plan->n_bridges, 2);
    assert_string_equal(plan->bridges[0].slice, "demo");
    assert_string_equal(plan->bridges[0].node, "sw");
    assert_string_equal(plan->bridges[0].datapath_type, "netdev");
    assert_string_equal(plan->bridges[0].controllers[0], "tcp:127.0.0.1:6653");
    assert_true(plan->bridges[0].fail_secure);
    assert_int_equal(plan->bridges[0].n_ports, 3);
    ports = plan->bridges[0].ports;
    plan_short_name(name, "demo", "sw", "p7");
    assert_int_equal(strlen(name), 14);
    assert_string_equal(ports[0].name, name);
    assert_string_equal(ports[0].type, "dpdk");
    assert_int_equal(ports[0].number, 7);
    assert_int_equal(ports[0].mtu, 4000);
    snprintf(wanted, sizeof wanted, "net_vnode_%s,port=demo.a.eth0,fastpath=/run/vnode/fastpath.sock", name);
    assert_string_equal(option(&ports[0], "dpdk-devargs"), wanted);
    assert_string_equal(option(&ports[0], "n_rxq"), "2");
    assert_int_equal(ports[1].number, 0);
    assert_string_equal(option(&ports[1], "n_rxq"), "");
    assert_string_equal(ports[2].type, "patch");
    assert_string_equal(option(&ports[2], "peer"), plan->bridges[1].ports[0].name);
    assert_string_equal(option(&plan->bridges[1].ports[0], "peer"), ports[2].name);
    assert_int_equal(plan->mode, SLICE_OFFLOAD_AUTO);
    assert_int_equal(plan->promote, 2000);
    assert_int_equal(plan->hold_ms, 5000);
    assert_int_equal(plan->rules, 100);
    release();
}

static void ports(void **state)
{
    const struct plan_port *port;

    make(on_switch, NULL);
    assert_int_equal(plan->n_ports, 2);
    port = plan_find_port(plan, "demo.a.eth0");
    assert_true(port->vhost);
    assert_string_equal(port->target, "/run/vnode/sockets/demo/a.eth0.sock");
    assert_int_equal(port->queues, 2);
    assert_int_equal(port->mtu, 4000);
    assert_int_equal(port->peer, -1);
    assert_int_equal(port->rate, 500000000);
    assert_int_equal(port->rate_out, 500000000);
    port = plan_find_port(plan, "demo.t.eth0");
    assert_false(port->vhost);
    assert_string_equal(port->device, plan->namespaces[0].veths[0].host);
    assert_non_null(strstr(port->target, ",iface=vn"));
    assert_string_equal(plan->namespaces[0].name, "demo.t");
    assert_string_equal(plan->namespaces[0].veths[0].interface.addresses[0], "10.0.0.3/24");
    assert_int_equal(plan->namespaces[0].veths[0].interface.mtu, 1500);
    assert_null(plan_find_port(plan, "demo.a.eth1"));
    release();
}

static void direct_links(void **state)
{
    make("name: demo\nnodes:\n  a: {kind: vm}\n  t: {kind: netns}\n  up: {kind: connector, device: eth1, vlan: 7}\n"
         "  out: {kind: connector, device: \"0000:01:00.0\"}\n"
         "links:\n  - {endpoints: [a, t], rate: 10Mbit}\n  - [\"t:eth1\", up]\n  - [\"a:eth1\", out]\n",
         NULL);
    assert_int_equal(plan->n_bridges, 0);
    assert_int_equal(plan->n_ports, 6);
    for (unsigned i = 0; i < plan->n_ports; i++) {
        const struct plan_port *port = &plan->ports[i];

        assert_int_equal(plan->ports[port->peer].peer, i);
        assert_int_equal(port->rule_id >> 62, 1);
        assert_int_not_equal(port->rule_id, plan->ports[port->peer].rule_id);
    }
    assert_string_equal(plan->ports[plan_find_port(plan, "demo.a.eth1")->peer].name, "demo.out.eth0");
    assert_string_equal(plan_find_port(plan, "demo.out.eth0")->target, "0000:01:00.0");
    assert_int_equal(plan_find_port(plan, "demo.a.eth0")->rate, 10000000);
    assert_int_equal(plan_find_port(plan, "demo.t.eth0")->rate, 10000000);
    assert_int_equal(plan_find_port(plan, "demo.t.eth0")->rate_out, 0);
    assert_int_equal(plan->n_devices, 2);
    assert_int_equal(strncmp(plan->devices[0].interface, "vn", 2), 0);
    assert_string_equal(plan->devices[1].interface, "");
    release();
}

/* Links stay: a machine's ports wait for it, those of what they are made of cannot. */
static void stopped_nodes(void **state)
{
    make(on_switch, "a");
    assert_int_equal(plan->n_machines, 0);
    assert_non_null(plan_find_port(plan, "demo.a.eth0"));
    assert_int_equal(plan->bridges[0].n_ports, 3);
    release();
    make(on_switch, "t");
    assert_int_equal(plan->n_namespaces, 0);
    assert_null(plan_find_port(plan, "demo.t.eth0"));
    assert_int_equal(plan->bridges[0].n_ports, 3);
    release();
    make(on_switch, "sw");
    assert_int_equal(plan->n_bridges, 1);
    assert_int_equal(plan->n_ports, 2);
    release();
}

/* What a restart takes to change has another fingerprint; what does not, has not. */
static void fingerprints(void **state)
{
    static const char text[] =
        "name: demo\nnodes:\n  a: {kind: vm, cpu: %u, interfaces: {eth0: {mtu: %u}}}\n  b: {kind: vm}\n"
        "links:\n  - {endpoints: [a, b], rate: %uMbit}\n";
    static const unsigned values[][3] = {{1, 1500, 10}, {1, 1500, 20}, {2, 1500, 10}, {1, 9000, 10}};
    char found[4][FINGERPRINT_SIZE], one[300];

    for (unsigned i = 0; i < 4; i++) {
        snprintf(one, sizeof one, text, values[i][0], values[i][1], values[i][2]);
        make(one, NULL);
        strcpy(found[i], plan->machines[0].fingerprint);
        release();
    }
    assert_string_equal(found[0], found[1]);
    assert_string_not_equal(found[0], found[2]);
    assert_string_not_equal(found[0], found[3]);
}

static void what_cannot_be_had(void **state)
{
    struct reconcile_settings far = settings;
    struct error error;
    char folder[120];

    refuse("name: demo\nnodes:\n  a: {kind: netns}\n  b: {kind: netns}\n  x: {kind: connector, device: eth1, vlan: 7}\n"
           "  y: {kind: connector, device: eth1, vlan: 7}\nlinks:\n  - [a, x]\n  - [b, y]\n",
           EEXIST, "Connectors x and y want the same of eth1; give each a VLAN of its own.");
    refuse("name: demo\nnodes:\n  a: {kind: netns}\n  b: {kind: netns}\n  x: {kind: connector, device: eth1}\n"
           "  y: {kind: connector, device: eth1, vlan: 7}\nlinks:\n  - [a, x]\n  - [b, y]\n",
           EEXIST, "Connectors x and y want the same of eth1; give each a VLAN of its own.");
    refuse("name: demo\nnodes:\n  a: {kind: netns}\n  x: {kind: connector, device: \"0000:01:00.0\", vlan: 7}\n"
           "links:\n  - [a, x]\n",
           ENOTSUP,
           "Connector x: VLANs are made by the kernel, which does not have the PCI device 0000:01:00.0.");
    refuse("name: demo\nnodes:\n  a: {kind: vm, interfaces: {eth0: {kind: vf}}}\n", ENOTSUP,
           "Interface eth0 of node a is of kind vf, for which this machine has no means; make it virtio.");
    memset(folder, 'x', sizeof folder);
    folder[0] = '/';
    folder[sizeof folder - 1] = '\0';
    far.run_folder = folder;
    parse("name: demo\nnodes:\n  a: {kind: vm, interfaces: {eth0: {}}}\n");
    assert_null(plan_make(&(struct slice_wish){.slice = slice}, &far, &error));
    assert_int_equal(error.code, ENAMETOOLONG);
    release();
}

/* The longest names there are. */
static void long_names(void **state)
{
    char name[SLICE_NAME_SIZE], interface[INTERFACE_NAME_SIZE], text[400];

    memset(name, 's', sizeof name - 1);
    memset(interface, 'i', sizeof interface - 1);
    name[sizeof name - 1] = interface[sizeof interface - 1] = '\0';
    snprintf(text, sizeof text, "name: %s\nnodes:\n  %s: {kind: vm, interfaces: {%s: {}}}\n", name, name,
             interface);
    make(text, NULL);
    assert_int_equal(strlen(plan->ports[0].name), PORT_NAME_SIZE - 1);
    assert_int_equal(strlen(plan->machines[0].spec.name), VM_NAME_SIZE - 1);
    release();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(machines),           cmocka_unit_test(addresses_stay),
        cmocka_unit_test(switches),           cmocka_unit_test(ports),
        cmocka_unit_test(direct_links),       cmocka_unit_test(stopped_nodes),
        cmocka_unit_test(fingerprints),       cmocka_unit_test(long_names),
        cmocka_unit_test(what_cannot_be_had),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
