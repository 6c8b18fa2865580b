/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "proto/rule_text.h"
#include "proto/value_text.h"

static int find_port(const char *name, void *argument)
{
    unsigned port;

    return sscanf(name, "vm%u", &port) == 1 ? (int)port : -1;
}

static const struct rule_text_ports ports = {find_port, NULL};

/* The text of a rule as it is written back: matches, then actions, separated by spaces. */
static const char *rewritten(const struct wire_rule *rule)
{
    static char text[RULE_TEXT_SIZE];
    char piece[ACTION_TEXT_SIZE], port[16];
    size_t used = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < rule->n_matches; i++) {
        const struct wire_match *match = &rule->matches[i];
        const struct wire_item *field = wire_field(match->field);

        value_format(field, match->value, match->mask, match->size, piece, sizeof piece);
        used += snprintf(text + used, sizeof text - used, "%s=%s ", field->name, piece);
    }
    used += snprintf(text + used, sizeof text - used, "actions=");
    for (unsigned i = 0; i < rule->n_actions; i++) {
        snprintf(port, sizeof port, "vm%u", wire_action_port(&rule->actions[i]));
        action_format(&rule->actions[i], port, piece, sizeof piece);
        used += snprintf(text + used, sizeof text - used, "%s%s", i ? "," : "", piece);
    }
    return text;
}

static void parse_to(const char *text, const char *expected)
{
    struct wire_rule rule;
    struct error error = {0};

    if (rule_parse(text, RULE_TEXT_WHOLE, &ports, &rule, &error))
        fail_msg("%s: %s", text, error.text);
    assert_string_equal(rewritten(&rule), expected);
}

static void refuse(const char *text, const char *part_of_sentence)
{
    struct wire_rule rule;
    struct error error = {0};

    assert_int_not_equal(rule_parse(text, RULE_TEXT_WHOLE, &ports, &rule, &error), 0);
    if (!strstr(error.text, part_of_sentence))
        fail_msg("'%s' gives '%s', which does not say '%s'", text, error.text, part_of_sentence);
    assert_int_equal(error.text[strlen(error.text) - 1], '.');
}

static void words_of_a_rule(void **state)
{
    struct wire_rule rule;

    assert_int_equal(rule_parse("id=7 in=vm1,priority=0x10 onload actions=output:vm515", RULE_TEXT_WHOLE,
                                &ports, &rule, NULL),
                     0);
    assert_int_equal(rule.id, 7);
    assert_int_equal(rule.in_port, 1);
    assert_int_equal(rule.priority, 16);
    assert_int_equal(rule.flags, WIRE_RULE_ONLOAD);
    assert_int_equal(wire_action_port(&rule.actions[0]), 515);
    assert_int_equal(rule_parse("in=vm1 actions=drop", RULE_TEXT_WHOLE, &ports, &rule, NULL), 0);
    assert_int_equal(rule.id, 0);
    assert_int_equal(rule.priority, RULE_PRIORITY_DEFAULT);
}

static void fields_and_masks(void **state)
{
    parse_to("in=vm1 eth_src=02:00:00:00:00:01 eth_dst=01:00:00:00:00:00/01:00:00:00:00:00 actions=drop",
             "eth_src=02:00:00:00:00:01 eth_dst=01:00:00:00:00:00/01:00:00:00:00:00 actions=drop");
    parse_to("in=vm1 eth_type=0x88f7 actions=drop", "eth_type=0x88f7 actions=drop");
    parse_to("in=vm1 ip_src=10.1.2.3/8 actions=drop", "ip_src=10.0.0.0/8 eth_type=0x0800 actions=drop");
    parse_to("in=vm1 ip_src=10.1.2.3/255.0.0.255 actions=drop",
             "ip_src=10.0.0.3/255.0.0.255 eth_type=0x0800 actions=drop");
    parse_to("in=vm1 ip_dst=fd00::1/64 actions=drop", "ip_dst=fd00::/64 eth_type=0x86dd actions=drop");
    parse_to("in=vm1 ip_dst=0.0.0.0/0 actions=drop", "ip_dst=0.0.0.0/0 eth_type=0x0800 actions=drop");
    parse_to("in=vm1 udp l4_dst=0x1000/0xf000 actions=drop",
             "ip_proto=17 l4_dst=4096/0xf000 eth_type=0x0800 actions=drop");
    parse_to("in=vm1 tcp_flags=+syn-ack actions=drop",
             "tcp_flags=+syn-ack ip_proto=6 eth_type=0x0800 actions=drop");
    parse_to("in=vm1 ip_frag=later actions=drop", "ip_frag=later eth_type=0x0800 actions=drop");
    parse_to("in=vm1 vlan=0 actions=drop", "vlan=0 actions=drop");
}

static void what_fields_imply(void **state)
{
    parse_to("in=vm1 vlan_vid=5 actions=drop", "vlan_vid=5 vlan=1 actions=drop");
    parse_to("in=vm1 inner_vid=5 actions=drop", "inner_vid=5 inner_vlan=1 actions=drop");
    parse_to("in=vm1 icmp_type=8 actions=drop", "icmp_type=8 ip_proto=1 eth_type=0x0800 actions=drop");
    parse_to("in=vm1 ipv6 icmp_type=128 actions=drop",
             "eth_type=0x86dd icmp_type=128 ip_proto=58 actions=drop");
    parse_to("in=vm1 tcp ip_src=::1 actions=drop", "ip_proto=6 ip_src=::1 eth_type=0x86dd actions=drop");
    parse_to("in=vm1 tcp6 dst_port=80 actions=drop", "eth_type=0x86dd ip_proto=6 l4_dst=80 actions=drop");
    parse_to("in=vm1 tunnel_id=5 actions=drop", "tunnel_id=5 ip_proto=17 eth_type=0x0800 actions=drop");
    parse_to("in=vm1 arp actions=drop", "eth_type=0x0806 actions=drop");
}

static void actions(void **state)
{
    parse_to("in=vm1 actions=set_eth_src:02:00:00:00:00:01, dec_ttl ,set_ip_dst:10.0.0.1,output:vm2,output:vm3",
             "actions=set_eth_src:02:00:00:00:00:01,dec_ttl,set_ip_dst:10.0.0.1,output:vm2,output:vm3");
    parse_to("in=vm1 actions=push_vlan:0x8100,set_vlan_vid:7,set_vlan_pcp:3,pop_vlan,set_tos:0xb8,set_ttl:9",
             "actions=push_vlan:0x8100,set_vlan_vid:7,set_vlan_pcp:3,pop_vlan,set_tos:0xb8,set_ttl:9");
    parse_to("in=vm1 actions=encap_raw:00112233445566778899aabb0800,set_l4_src:53,set_l4_dst:54,decap_vxlan",
             "actions=encap_raw:00112233445566778899aabb0800,set_l4_src:53,set_l4_dst:54,decap_vxlan");
}

static void vxlan_header(void **state)
{
    parse_to("in=vm1 actions=encap_vxlan(eth_src=02:00:00:00:00:01,eth_dst=02:00:00:00:00:02,"
             "ip_src=10.0.0.1,ip_dst=10.0.0.2,vni=0x123456,ttl=7,tos=0x10),output:vm2",
             "actions=encap_raw:020000000002020000000001"
             "0800"
             "451000000000400007110000"
             "0a0000010a000002"
             "000012b500000000"
             "0800000012345600"
             ",output:vm2");
    parse_to("in=vm1 actions=encap_vxlan(eth_src=02:00:00:00:00:01,eth_dst=02:00:00:00:00:02,"
             "ip_src=fd00::1,ip_dst=fd00::2,vni=1,udp_src=7,udp_dst=8472,tos=0xab)",
             "actions=encap_raw:020000000002020000000001"
             "86dd"
             "6ab0000000001140"
             "fd000000000000000000000000000001"
             "fd000000000000000000000000000002"
             "0007211800000000"
             "0800000000000100");
    refuse("in=vm1 actions=encap_vxlan(vni=1)", "needs eth_src");
    refuse("in=vm1 actions=encap_vxlan(vni=16777216)", "0 to 16777215");
    refuse("in=vm1 actions=encap_vxlan(colour=1)", "colour");
    refuse("in=vm1 actions=encap_vxlan()", "nothing that encap_vxlan");
}

static void faults_are_named(void **state)
{
    refuse("actions=drop", "'in=PORT' is missing");
    refuse("in=vm1", "'actions=' is missing");
    refuse("in=vm1 actions=", "An action is missing");
    refuse("in=vm1 actions=drop,", "An action is missing");
    refuse("in=nobody actions=drop", "no port 'nobody'");
    refuse("in=vm1 actions=output:nobody", "no port 'nobody'");
    refuse("in=vm1 in=vm2 actions=drop", "'in=' is there twice");
    refuse("in=vm1 tcp tcp_flags=+fin+fin actions=drop", "tcp_flags");
    refuse("in=vm1 tos=1 tos=1 actions=drop", "twice");
    refuse("in=vm1 ip_src=300.1.1.1 actions=drop", "300.1.1.1");
    refuse("in=vm1 ip_src=10.0.0.1/33 actions=drop", "33");
    refuse("in=vm1 eth_src=2:0:0:0:0:1 actions=drop", "MAC address");
    refuse("in=vm1 vlan_vid=4096 actions=drop", "0 to 4095");
    refuse("in=vm1 vlan_vid=-1 actions=drop", "-1");
    refuse("in=vm1 vlan_vid= actions=drop", "vlan_vid");
    refuse("in=vm1 l4_dst=80 actions=drop", "tcp, udp and sctp");
    refuse("in=vm1 udp tcp_flags=+syn actions=drop", "tcp_flags");
    refuse("in=vm1 vlan=0 vlan_vid=3 actions=drop", "vlan=0");
    refuse("in=vm1 tcp udp actions=drop", "contradicts");
    refuse("in=vm1 shiny actions=drop", "shiny");
    refuse("in=vm1 colour=red actions=drop", "colour");
    refuse("in=vm1 id=0 actions=drop", "id=0");
    refuse("in=vm1 priority=65536 actions=drop", "65535");
    refuse("in=vm1 actions=fly", "fly");
    refuse("in=vm1 actions=drop:1", "takes nothing");
    refuse("in=vm1 actions=set_ttl", "set_ttl:VALUE");
    refuse("in=vm1 actions=encap_raw:0", "encap_raw");
    refuse("in=vm1 actions=drop,drop,drop,drop,drop,drop,drop,drop,drop,drop,drop,drop,drop,drop,drop,drop,drop",
           "more than 16");
}

/* Whatever the codec lets through can be written as text and read back as the same bytes. */
static void every_field_reads_back_what_it_writes(void **state)
{
    for (unsigned field = 1; field < FIELD_END; field++) {
        const struct wire_item *item = wire_field(field);
        char text[VALUE_TEXT_SIZE];
        struct wire_value value;

        for (unsigned pattern = 0; pattern < 256; pattern++) {
            uint8_t bytes[16], mask[16];
            size_t size = item->size;
            unsigned spare = size * 8 - item->bits;

            for (size_t i = 0; i < size; i++) {
                mask[i] = (pattern * 37 + i) & (i == 0 ? 0xff >> spare : 0xff);
                bytes[i] = (pattern + i * 5) & mask[i];
            }
            value_format(item, bytes, mask, size, text, sizeof text);
            if (value_parse(item, text, true, &value, NULL))
                fail_msg("%s=%s cannot be read back", item->name, text);
            assert_int_equal(value.size, size);
            assert_memory_equal(value.value, bytes, size);
            assert_memory_equal(value.mask, mask, size);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_of_a_rule),
        cmocka_unit_test(fields_and_masks),
        cmocka_unit_test(what_fields_imply),
        cmocka_unit_test(actions),
        cmocka_unit_test(vxlan_header),
        cmocka_unit_test(faults_are_named),
        cmocka_unit_test(every_field_reads_back_what_it_writes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
