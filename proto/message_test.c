/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "proto/message.h"
#include "proto/message_recode.h"

static const struct wire_rule example_rule = {
    .id = 0x123456789abcdef0,
    .in_port = 3,
    .priority = 100,
    .flags = WIRE_RULE_ONLOAD,
    .n_matches = 3,
    .n_actions = 4,
    .matches = {{FIELD_ETH_TYPE, 2, {0x08, 0x00}, {0xff, 0xff}},
                {FIELD_IP_DST, 4, {10, 1, 2, 0}, {255, 255, 255, 0}},
                {FIELD_VLAN_VID, 2, {0x0f, 0xff}, {0x0f, 0xff}}},
    .actions = {{WIRE_ACTION_DEC_TTL, 0, {0}},
                {WIRE_ACTION_SET_ETH_SRC, 6, {2, 0, 0, 0, 0, 1}},
                {WIRE_ACTION_ENCAP_RAW, 20, {1, 2, 3}},
                {WIRE_ACTION_OUTPUT, 2, {0x34, 0x12}}},
};

static void put_body(struct wire_writer *writer, enum message_type type)
{
    uint8_t *place;

    switch (type) {
    case MESSAGE_HELLO: message_put_hello(writer, &(struct message_hello){1, 7, "someone 1.0"}); break;
    case MESSAGE_PORT_ADD:
        message_put_port_add(writer, &(struct message_port_add){MESSAGE_PORT_VHOST, MESSAGE_PORT_SERVER, 4,
                                                                1500, "vm1", "/run/vm1.sock", "blue"});
        break;
    case MESSAGE_PORT_REMOVE:
    case MESSAGE_RING_OPEN: message_put_port_name(writer, &(struct message_port_name){"vm1"}); break;
    case MESSAGE_RULE_ADD:
        place = message_begin_items(writer);
        wire_put_rule(writer, &example_rule);
        wire_put_rule(writer, &example_rule);
        message_end_items(place, 2);
        break;
    case MESSAGE_RULE_REMOVE:
        place = message_begin_items(writer);
        wire_put_u64(writer, 7);
        wire_put_u64(writer, UINT64_MAX);
        message_end_items(place, 2);
        break;
    case MESSAGE_ATTACH: message_put_attach(writer, &(struct message_attach){1000, "a vSwitch"}); break;
    case MESSAGE_ATTACHED:
        message_put_attached(writer, &(struct message_attached){1000, 7, 1ull << 60});
        break;
    case MESSAGE_CHANGE:
    case MESSAGE_QUERY:
        message_put_query(writer, &(struct message_query){"port/show", 2, {{"port", "vm1", 3}, {"x", "", 0}}});
        break;
    case MESSAGE_CAPTURE_START: message_put_capture(writer, &(struct message_capture){256, "vm1"}); break;
    case MESSAGE_OK: message_put_ok(writer, &(struct message_ok){5, 1ull << 40}); break;
    case MESSAGE_ERROR:
        message_put_error(writer, &(struct message_error){17, 3, 2, "There is a rule with that id."});
        break;
    case MESSAGE_RINGS: message_put_rings(writer, &(struct message_rings){9, 4}); break;
    case MESSAGE_EVENT:
        message_put_event(writer, &(struct message_event){EVENT_PORT_UP, 3, 1, 2, "vm1", "the guest is ready"});
        break;
    case MESSAGE_RULE_FLUSH: wire_put_u16(writer, 3); break;
    case MESSAGE_CAPTURE_STOP:
    case MESSAGE_RING_CLOSE:
    case MESSAGE_SUBSCRIBE: wire_put_u32(writer, 1); break;
    default: break;
    }
}

static const enum message_type types[] = {
#define X(id, number, name, least, most, fds) MESSAGE_##id,
    MESSAGES(X)
#undef X
};

#define N_TYPES (sizeof types / sizeof *types)

static size_t encode(uint8_t *data, enum message_type type)
{
    struct wire_writer writer = wire_writer(data, MESSAGE_SIZE_MAX);

    message_put_header(&writer, &(struct message_header){.type = type, .flags = 0, .request = 0xfedcba98});
    put_body(&writer, type);
    assert_false(writer.bad);
    return wire_size(&writer);
}

static void every_message_survives_a_round_trip(void **state)
{
    static uint8_t data[MESSAGE_SIZE_MAX], again[MESSAGE_SIZE_MAX];

    for (size_t i = 0; i < N_TYPES; i++) {
        size_t size = encode(data, types[i]);
        struct wire_writer writer = wire_writer(again, sizeof again);

        assert_true(recode(data, size, &writer));
        assert_int_equal(wire_size(&writer), size);
        assert_memory_equal(again, data, size);
    }
}

/*
 * Each truncated message lies at the end of its own allocation, so that a sanitizer sees any access behind
 * it.
 */
static void every_truncation_is_noticed(void **state)
{
    static uint8_t data[MESSAGE_SIZE_MAX], again[MESSAGE_SIZE_MAX];

    for (size_t i = 0; i < N_TYPES; i++) {
        size_t size = encode(data, types[i]);

        if (types[i] == MESSAGE_ANSWER) /* any bytes are an answer */
            continue;
        for (size_t cut = 0; cut < size; cut++) {
            struct wire_writer writer = wire_writer(again, sizeof again);
            uint8_t *copy = malloc(cut ? cut : 1);

            memcpy(copy, data, cut);
            assert_false(recode(copy, cut, &writer));
            free(copy);
        }
    }
}

static void bytes_left_over_are_noticed(void **state)
{
    static uint8_t data[MESSAGE_SIZE_MAX], again[MESSAGE_SIZE_MAX];

    for (size_t i = 0; i < N_TYPES; i++) {
        size_t size = encode(data, types[i]);
        struct wire_writer writer = wire_writer(again, sizeof again);

        if (types[i] == MESSAGE_ANSWER || types[i] == MESSAGE_HELLO) /* HELLO leaves room for later versions */
            continue;
        data[size] = 0;
        assert_false(recode(data, size + 1, &writer));
    }
}

static void bodies_beyond_their_bounds_are_refused(void **state)
{
    static uint8_t data[MESSAGE_SIZE_MAX + 1];

    for (size_t i = 0; i < N_TYPES; i++) {
        const struct message_kind *kind = message_kind(types[i]);
        struct message_header header;
        struct wire_reader reader;

        encode(data, types[i]);
        reader = wire_reader(data, MESSAGE_HEADER_SIZE + kind->body_max + 1);
        assert_non_null(message_get_header(&reader, &header));
        reader = wire_reader(data, MESSAGE_HEADER_SIZE + kind->body_max);
        assert_null(message_get_header(&reader, &header));
    }
}

static void unknown_types_and_flags_are_refused(void **state)
{
    uint8_t data[8];

    for (unsigned type = 0; type < 100; type++) {
        struct wire_writer writer = wire_writer(data, sizeof data);
        struct wire_reader reader = wire_reader(data, sizeof data);
        struct message_header header;

        message_put_header(&writer, &(struct message_header){.type = type, .flags = 2});
        assert_non_null(message_get_header(&reader, &header));
    }
}

static void text_with_a_nul_or_too_long_is_refused(void **state)
{
    const uint8_t with_nul[] = {3, 0, 'a', 0, 'b'};
    const uint8_t too_long[] = {4, 0, 'a', 'b', 'c', 'd'};
    struct wire_reader reader = wire_reader(with_nul, sizeof with_nul);
    char text[4];

    wire_get_text(&reader, text, sizeof text);
    assert_true(reader.bad);
    reader = wire_reader(too_long, sizeof too_long);
    wire_get_text(&reader, text, sizeof text);
    assert_true(reader.bad);
    assert_string_equal(text, "");
}

/* Writes 'rule' and reads it back; what is wrong with it, or NULL. */
static const char *reread(const struct wire_rule *rule)
{
    static uint8_t data[MESSAGE_SIZE_MAX];
    static struct wire_rule again;
    struct wire_writer writer = wire_writer(data, sizeof data);
    struct wire_reader reader;

    assert_true(wire_put_rule(&writer, rule));
    reader = wire_reader(data, wire_size(&writer));
    return wire_get_rule(&reader, &again);
}

static void rules_out_of_form_are_refused(void **state)
{
    struct wire_rule rule = example_rule;

    assert_null(reread(&rule));
    rule.matches[2].field = FIELD_ETH_TYPE;
    assert_string_equal(reread(&rule), "it matches a field twice");
    rule = example_rule;
    rule.matches[2].field = 0;
    assert_non_null(reread(&rule));
    rule = example_rule;
    rule.matches[2].field = FIELD_END;
    assert_non_null(reread(&rule));
    rule = example_rule;
    rule.matches[2].mask[0] = 0x1f;
    assert_string_equal(reread(&rule), "a mask is wider than its field");
    rule = example_rule;
    rule.matches[1].value[3] = 1;
    assert_string_equal(reread(&rule), "a value has bits outside its mask");
    rule = example_rule;
    rule.matches[1].size = 5;
    assert_string_equal(reread(&rule), "a value has not its field's size");
    rule = example_rule;
    rule.actions[0].size = 1;
    assert_string_equal(reread(&rule), "an operand has not its action's size");
    rule = example_rule;
    rule.actions[0].type = WIRE_ACTION_END;
    assert_non_null(reread(&rule));
    rule = example_rule;
    rule.flags = 0x80;
    assert_non_null(reread(&rule));
}

static void a_rule_that_does_not_fit_leaves_the_writer_alone(void **state)
{
    uint8_t data[60];
    struct wire_writer writer = wire_writer(data, sizeof data);

    wire_put_u32(&writer, 1);
    assert_false(wire_put_rule(&writer, &example_rule));
    assert_false(writer.bad);
    assert_int_equal(wire_size(&writer), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_survives_a_round_trip),
        cmocka_unit_test(every_truncation_is_noticed),
        cmocka_unit_test(bytes_left_over_are_noticed),
        cmocka_unit_test(bodies_beyond_their_bounds_are_refused),
        cmocka_unit_test(unknown_types_and_flags_are_refused),
        cmocka_unit_test(text_with_a_nul_or_too_long_is_refused),
        cmocka_unit_test(rules_out_of_form_are_refused),
        cmocka_unit_test(a_rule_that_does_not_fit_leaves_the_writer_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
