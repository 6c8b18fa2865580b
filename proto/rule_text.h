/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_RULE_TEXT_H
#define PROTO_RULE_TEXT_H

/*
 * Rules as text:
 *
 *     id=7 in=vm1 priority=10 tcp ip_dst=10.0.0.0/8 l4_dst=80 actions=dec_ttl,output:vm2
 *
 * Words are separated by white space or commas; 'actions=' comes last, its
 * actions are separated by commas. vnode(1) describes the language for users.
 */

#include "lib/error.h"
#include "proto/rule.h"

#define RULE_TEXT_SIZE 8192  /* bytes of a rule's text at most, with the NUL */
#define ACTION_TEXT_SIZE 384 /* room for any action that action_format() writes */
#define RULE_PRIORITY_DEFAULT 32768

/* Where names of ports are looked up. */
struct rule_text_ports {
    /* The id of the port called 'name', or -1. */
    int (*find)(const char *name, void *argument);
    void *argument;
};

enum rule_text_part {
    RULE_TEXT_WHOLE, /* id, in, priority, onload, fields, actions: 'in' and 'actions' have to be there */
    RULE_TEXT_MATCH, /* in and fields only: 'in' has to be there */
};

/*
 * Parses 'text' into 'rule'. What fields imply is added: ip_src=10.0.0.1 adds
 * eth_type=0x0800, l4_dst needs tcp, udp or sctp, vlan_vid adds vlan=1, and so
 * on. Returns 0 or EINVAL (ENOENT: no such port) with a sentence that quotes the word in question.
 */
int rule_parse(const char *text, enum rule_text_part part, const struct rule_text_ports *ports,
               struct wire_rule *rule, struct error *error);

/* Parses a list of actions separated by commas into 'rule'. */
int rule_parse_actions(const char *text, const struct rule_text_ports *ports, struct wire_rule *rule,
                       struct error *error);

/*
 * Parses the inside of encap_vxlan(...) into a raw encapsulation: Ethernet, IP, UDP and VXLAN headers (RFC
 * 7348).
 */
int encap_vxlan_parse(const char *text, struct wire_action *action, struct error *error);

/* Writes "NAME" or "NAME:OPERAND"; 'port_name' is what an OUTPUT action's port is called. */
void action_format(const struct wire_action *action, const char *port_name, char *text, size_t room);

#endif
