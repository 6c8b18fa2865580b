/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include <jansson.h>

#include "fastpath/control.h"
#include "fastpath/control_fake.h"
#include "fastpath/control_testbed.h"
#include "proto/client.h"
#include "proto/rule_text.h"

static char directory[] = "/tmp/vnode-control-test-XXXXXX";
static char path[64];
static struct client *client;

/* A connection that has not said HELLO. */
static int connect_raw(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, path);
    assert_return_code(connect(fd, (struct sockaddr *)&address, sizeof address), errno);
    return fd;
}

static void expect_raw_error(int fd, uint32_t code)
{
    uint8_t data[1024];
    struct message_header header;
    struct message_error failure;
    ssize_t size = recv(fd, data, sizeof data, 0);
    struct wire_reader reader = wire_reader(data, size > 0 ? size : 0);

    assert_null(message_get_header(&reader, &header));
    assert_int_equal(header.type, MESSAGE_ERROR);
    assert_true(message_get_error(&reader, &failure));
    assert_int_equal(failure.code, code);
    assert_int_equal(recv(fd, data, sizeof data, 0), 0);
    close(fd);
}

static uint16_t add_port(const char *name)
{
    struct message_port_add port = {.kind = MESSAGE_PORT_VHOST, .target = "/run/x.sock"};
    struct message reply;
    struct message_ok ok;
    struct error error;

    strcpy(port.name, name);
    message_put_port_add(client_begin(client, MESSAGE_PORT_ADD), &port);
    expect(client_call(client, &reply, &error), &error);
    assert_true(message_get_ok(&reply.body, &ok));
    return ok.value;
}

static json_t *query(const char *question, const char *name, const char *value)
{
    struct message_argument argument = {.value = value, .size = value ? strlen(value) : 0};
    struct error error;
    char *text;
    json_t *json;

    if (name)
        strcpy(argument.name, name);
    text = client_query(client, question, &argument, name ? 1 : 0, 0, &error);
    if (!text)
        fail_msg("%s", error.text);
    json = json_loads(text, 0, NULL);
    assert_non_null(json);
    free(text);
    return json;
}

static int setup(void **state)
{
    fake_start(path);
    client = testbed_connect(path);
    return 0;
}

static int teardown(void **state)
{
    testbed_stop(client);
    assert_int_equal(access(path, F_OK), -1);
    return 0;
}

static void hello_tells_the_version(void **state)
{
    assert_string_equal(client_server_software(client), "vnode-fastpath " VNODE_VERSION);
}

static void other_versions_are_refused_with_a_sentence(void **state)
{
    uint8_t data[64];
    struct wire_writer writer = wire_writer(data, sizeof data);
    int fd = connect_raw();

    message_put_header(&writer, &(struct message_header){.type = MESSAGE_HELLO, .request = 1});
    message_put_hello(&writer, &(struct message_hello){100, 200, "future"});
    assert_int_equal(send(fd, data, wire_size(&writer), 0), wire_size(&writer));
    expect_raw_error(fd, EPROTO);
}

static void hello_comes_first(void **state)
{
    uint8_t data[8];
    struct wire_writer writer = wire_writer(data, sizeof data);
    int fd = connect_raw();

    message_put_header(&writer, &(struct message_header){.type = MESSAGE_STOP, .request = 1});
    assert_int_equal(send(fd, data, sizeof data, 0), sizeof data);
    expect_raw_error(fd, EPROTO);
}

static void rubbish_ends_the_connection_only(void **state)
{
    static uint8_t data[70000];
    int fd = connect_raw();

    assert_int_equal(send(fd, data, 3, 0), 3);
    expect_raw_error(fd, EPROTO);
    fd = connect_raw();
    assert_int_equal(send(fd, data, 70000, 0), 70000);
    expect_raw_error(fd, EMSGSIZE);
    json_decref(query("port/list", NULL, NULL));
}

static void file_descriptors_are_closed(void **state)
{
    char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec vector = {.iov_base = control, .iov_len = 8};
    struct msghdr header = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    int fd = connect_raw(), ends[2];
    char byte;

    assert_return_code(pipe(ends), errno);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &ends[1], sizeof(int));
    assert_int_equal(sendmsg(fd, &header, 0), 8);
    close(ends[1]);
    expect_raw_error(fd, EPROTO);
    assert_int_equal(read(ends[0], &byte, 1), 0);
    close(ends[0]);
}

static void ports_come_and_go(void **state)
{
    struct message_port_name name = {"vm1"};
    struct error error;
    json_t *ports, *port;

    assert_int_equal(add_port("vm1"), 0);
    assert_int_equal(add_port("vm2"), 1);
    ports = query("port/list", NULL, NULL);
    assert_int_equal(json_array_size(ports), 2);
    json_decref(ports);
    port = query("port/show", "port", "vm2");
    assert_string_equal(json_string_value(json_object_get(port, "reason")), "nobody has connected");
    json_decref(port);
    message_put_port_name(client_begin(client, MESSAGE_PORT_REMOVE), &name);
    expect(client_call(client, NULL, &error), &error);
    message_put_port_name(client_begin(client, MESSAGE_PORT_REMOVE), &name);
    assert_int_equal(client_call(client, NULL, &error), ENOENT);
    assert_non_null(strstr(error.text, "vm1"));
}

static int find_port(const char *name, void *argument)
{
    return atoi(name);
}

static void put_rule_text(struct wire_writer *writer, const char *text)
{
    static const struct rule_text_ports ports = {find_port, NULL};
    struct wire_rule rule;
    struct error error;

    expect(rule_parse(text, RULE_TEXT_WHOLE, &ports, &rule, &error), &error);
    assert_true(wire_put_rule(writer, &rule));
}

/* Adds the rules of a list that ends with NULL in one message, and leaves the reply. */
static int add_rules(const char *const texts[], struct message *reply, struct error *error)
{
    struct wire_writer *writer = client_begin(client, MESSAGE_RULE_ADD);
    uint8_t *place = message_begin_items(writer);
    uint32_t n = 0;

    while (texts[n])
        put_rule_text(writer, texts[n++]);
    message_end_items(place, n);
    return client_call(client, reply, error);
}

static void rules_read_back_as_they_were_given(void **state)
{
    static const char *const texts[] = {
        "in=0 id=9 priority=7 eth_dst=02:00:00:00:00:00/02:00:00:00:00:00 vlan_vid=5/0xf vlan_pcp=3 inner_vid=9 tcp6 "
        "ip_src=fd00::/64 ttl=64 tos=0x10/0xf0 ip_frag=no l4_src=1024/0xfc00 tcp_flags=+syn-ack "
        "actions=push_vlan:0x88a8,set_vlan_vid:3,set_ip_dst:fd00::7,set_l4_dst:80,dec_ttl,output:1",
        "in=0 icmp icmp_code=3 ip_dst=10.0.0.0/8 actions=encap_raw:00112233445566778899aabbccdd,output:0",
        "in=1 udp tunnel_id=77 l4_dst=4789 actions=decap_vxlan,output:0",
        NULL,
    };
    static const char *const expected[] = {
        "{\"eth_dst\":\"02:00:00:00:00:00/02:00:00:00:00:00\",\"vlan\":\"1\",\"vlan_vid\":\"5/0xf\",\"vlan_pcp\":\"3\","
        "\"inner_vlan\":\"1\",\"inner_vid\":\"9\",\"eth_type\":\"0x86dd\",\"ip_src\":\"fd00::/64\",\"ip_proto\":\"6\","
        "\"tos\":\"0x10/0xf0\",\"ttl\":\"64\",\"ip_frag\":\"no\",\"l4_src\":\"1024/0xfc00\","
        "\"tcp_flags\":\"+syn-ack\"}",
        "{\"eth_type\":\"0x0800\",\"ip_dst\":\"10.0.0.0/8\",\"ip_proto\":\"1\",\"icmp_code\":\"3\"}",
        "{\"eth_type\":\"0x0800\",\"ip_proto\":\"17\",\"l4_dst\":\"4789\",\"tunnel_id\":\"77\"}",
    };
    static const char *const expected_actions[] = {
        "[\"push_vlan:0x88a8\",\"set_vlan_vid:3\",\"set_ip_dst:fd00::7\",\"set_l4_dst:80\",\"dec_ttl\",\"output:vm2\"]",
        "[\"encap_raw:00112233445566778899aabbccdd\",\"output:vm1\"]",
        "[\"decap_vxlan\",\"output:vm1\"]",
    };
    struct message reply;
    struct message_ok ok;
    struct error error;
    json_t *rules;

    add_port("vm1");
    add_port("vm2");
    expect(add_rules(texts, &reply, &error), &error);
    assert_true(message_get_ok(&reply.body, &ok));
    assert_int_equal(ok.count, 3);
    rules = query("rule/list", NULL, NULL);
    assert_int_equal(json_array_size(rules), 3);
    for (int i = 0; i < 3; i++) {
        json_t *rule = json_array_get(rules, i);
        char *match = json_dumps(json_object_get(rule, "match"), JSON_COMPACT);
        char *actions = json_dumps(json_object_get(rule, "actions"), JSON_COMPACT);

        assert_string_equal(match, expected[i]);
        assert_string_equal(actions, expected_actions[i]);
        assert_int_equal(json_integer_value(json_object_get(rule, "id")), i ? (int)ok.value + i - 1 : 9);
        free(match);
        free(actions);
    }
    json_decref(rules);
    rules = query("rule/list", "port", "vm2");
    assert_int_equal(json_array_size(rules), 1);
    json_decref(rules);
}

static void a_bulk_request_names_its_first_failure(void **state)
{
    static const char *const texts[] = {"in=0 id=1 actions=drop", "in=0 id=1 priority=3 actions=drop",
                                        "in=5 actions=drop", "in=0 id=2 priority=4 actions=drop", NULL};
    struct wire_writer *writer;
    struct message reply;
    struct error error;
    uint32_t index, done, synchronized = fake_n_synchronized;
    uint8_t *place;

    add_port("vm1");
    assert_int_equal(add_rules(texts, &reply, &error), EEXIST);
    writer = client_begin(client, MESSAGE_RULE_REMOVE);
    place = message_begin_items(writer);
    wire_put_u64(writer, 1);
    wire_put_u64(writer, 77);
    wire_put_u64(writer, 2);
    wire_put_u64(writer, 1);
    message_end_items(place, 4);
    expect(client_send(client, NULL, &error), &error);
    expect(client_receive(client, &reply, &error), &error);
    assert_int_equal(message_to_error(&reply, &index, &done, &error), ENOENT);
    assert_int_equal(index, 1);
    assert_int_equal(done, 2);
    assert_int_equal(fake_n_synchronized, synchronized + 1);
}

static void matches_need_the_kind_of_packet(void **state)
{
    struct wire_rule rule = {.id = 1, .n_matches = 1, .n_actions = 1, .actions = {{.type = WIRE_ACTION_DROP}}};
    const struct wire_match faulty[] = {
        {FIELD_L4_DST, 2, {0, 80}, {0xff, 0xff}},
        {FIELD_IP_SRC, 4, {10}, {0xff}},
        {FIELD_TCP_FLAGS, 1, {2}, {2}},
        {FIELD_ICMP_TYPE, 1, {8}, {0xff}},
        {FIELD_VLAN_VID, 2, {0, 5}, {0x0f, 0xff}},
        {FIELD_INNER_PCP, 1, {5}, {7}},
        {FIELD_INNER_AD, 1, {1}, {1}},
        {FIELD_TUNNEL_ID, 4, {0, 0, 0, 5}, {0, 0xff, 0xff, 0xff}},
    };
    struct error error;

    add_port("vm1");
    for (size_t i = 0; i < sizeof faulty / sizeof *faulty; i++) {
        struct wire_writer *writer = client_begin(client, MESSAGE_RULE_ADD);
        uint8_t *place = message_begin_items(writer);

        rule.matches[0] = faulty[i];
        assert_true(wire_put_rule(writer, &rule));
        message_end_items(place, 1);
        assert_int_equal(client_call(client, NULL, &error), EINVAL);
        assert_non_null(strstr(error.text, "needs"));
    }
}

/* Fills the tables with 'n' rules of port 0 by pipelined requests. */
static void add_many_rules(uint32_t n)
{
    struct wire_rule rule = {.n_matches = 1,
                             .n_actions = 1,
                             .matches = {{FIELD_ETH_SRC, 6, {0}, {255, 255, 255, 255, 255, 255}}},
                             .actions = {{.type = WIRE_ACTION_DROP}}};
    unsigned n_sent = 0, n_answered = 0;
    struct message reply;
    struct error error;

    for (uint32_t i = 0; i < n;) {
        struct wire_writer *writer = client_begin(client, MESSAGE_RULE_ADD);
        uint8_t *place = message_begin_items(writer);
        uint32_t in_message = 0;

        for (; i < n && in_message < 1000; i++, in_message++) {
            memcpy(rule.matches[0].value, &i, sizeof i);
            assert_true(wire_put_rule(writer, &rule));
        }
        message_end_items(place, in_message);
        expect(client_send(client, NULL, &error), &error);
        n_sent++;
        while (n_answered + 8 < n_sent || (i == n && n_answered < n_sent)) {
            expect(client_receive(client, &reply, &error), &error);
            assert_int_equal(reply.header.type, MESSAGE_OK);
            n_answered++;
        }
    }
}

static void a_long_list_comes_in_pieces(void **state)
{
    struct message_ok ok;
    struct message reply;
    struct error error;
    json_t *rules;

    add_port("vm1");
    add_many_rules(100000);
    rules = query("rule/list", NULL, NULL);
    assert_int_equal(json_array_size(rules), 100000);
    json_decref(rules);
    wire_put_u16(client_begin(client, MESSAGE_RULE_FLUSH), 0);
    expect(client_call(client, &reply, &error), &error);
    assert_true(message_get_ok(&reply.body, &ok));
    assert_int_equal(ok.count, 100000);
}

static void one_who_does_not_read_does_not_delay_others(void **state)
{
    struct client *lazy = testbed_connect(path);
    struct message_query list = {.question = "rule/list"};
    struct error error;

    add_port("vm1");
    add_many_rules(50000);
    for (int i = 0; i < 20; i++) {
        message_put_query(client_begin(lazy, MESSAGE_QUERY), &list);
        expect(client_send(lazy, NULL, &error), &error);
    }
    for (int i = 0; i < 100; i++)
        json_decref(query("port/list", NULL, NULL));
    client_close(lazy);
    json_decref(query("port/list", NULL, NULL));
}

static void events_reach_subscribers(void **state)
{
    struct client *subscriber = testbed_connect(path);
    struct message_event event;
    struct message message;
    struct error error;

    wire_put_u32(client_begin(subscriber, MESSAGE_SUBSCRIBE), 1 << EVENT_PORT_ADDED | 1 << EVENT_PORT_DOWN);
    expect(client_call(subscriber, NULL, &error), &error);
    add_port("vm1");
    control_event(EVENT_PORT_UP, 0, "vm1", "not subscribed");
    control_event(EVENT_PORT_DOWN, 0, "vm1", "the guest went away");
    expect(client_receive(subscriber, &message, &error), &error);
    assert_true(message_get_event(&message.body, &event));
    assert_int_equal(event.kind, EVENT_PORT_ADDED);
    expect(client_receive(subscriber, &message, &error), &error);
    assert_true(message_get_event(&message.body, &event));
    assert_int_equal(event.kind, EVENT_PORT_DOWN);
    assert_string_equal(event.text, "the guest went away");
    client_close(subscriber);
}

static void a_subscriber_that_does_not_read_is_disconnected(void **state)
{
    struct client *subscriber = testbed_connect(path);
    struct pollfd poll_fd = {.fd = client_fd(subscriber)};
    struct error error;

    wire_put_u32(client_begin(subscriber, MESSAGE_SUBSCRIBE), EVENT_MASK_ALL);
    expect(client_call(subscriber, NULL, &error), &error);
    while (poll(&poll_fd, 1, 0) == 0) {
        for (int i = 0; i < 500; i++)
            control_event(EVENT_PORT_UP, 0, "vm1", "once more");
        json_decref(query("port/list", NULL, NULL));
    }
    assert_true(poll_fd.revents & POLLHUP);
    client_close(subscriber);
}

static void a_full_house_prefers_those_who_said_hello(void **state)
{
    struct client *clients[63];
    int fds[100];

    for (int i = 0; i < 100; i++)
        fds[i] = connect_raw();
    for (int i = 0; i < 63; i++)
        clients[i] = testbed_connect(path);
    expect_raw_error(connect_raw(), EBUSY);
    for (int i = 0; i < 63; i++)
        client_close(clients[i]);
    for (int i = 0; i < 100; i++)
        close(fds[i]);
}

static void unknown_questions_and_ports_are_refused(void **state)
{
    struct message_argument argument = {.name = "port", .value = "nobody", .size = 6};
    struct error error;

    assert_null(client_query(client, "weather/show", NULL, 0, 0, &error));
    assert_int_equal(error.code, EINVAL);
    assert_null(client_query(client, "stats/show", &argument, 1, 0, &error));
    assert_int_equal(error.code, ENOENT);
    assert_null(client_query(client, "rule/list", &argument, 1, 0, &error));
    assert_int_equal(error.code, ENOENT);
}

static void every_question_has_an_answer(void **state)
{
    static const char *const questions[] = {"port/list", "rule/list",  "stats/show",
                                            "perf/show", "drops/show", "version/show"};

    add_port("vm1");
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        json_decref(query(questions[i], NULL, NULL));
}

static void a_dead_socket_is_replaced_and_other_files_are_not(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct error error;
    struct stat status;
    int fd;

    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    assert_int_equal(control_create(path, NULL, NULL, &error), EEXIST);
    unlink(path);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, path);
    assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof address), errno);
    close(fd);
    assert_int_equal(control_create(path, "no-such-group", NULL, &error), ENOENT);
    expect(control_create(path, "daemon", NULL, &error), &error);
    assert_return_code(stat(path, &status), errno);
    assert_int_equal(status.st_mode & 0777, 0660);
    assert_int_equal(status.st_gid, 1);
    control_destroy();
    assert_int_equal(access(path, F_OK), -1);
    expect(control_create(path, NULL, NULL, &error), &error);
    assert_return_code(stat(path, &status), errno);
    assert_int_equal(status.st_mode & 0777, 0600);
    control_destroy();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hello_tells_the_version, setup, teardown),
        cmocka_unit_test_setup_teardown(other_versions_are_refused_with_a_sentence, setup, teardown),
        cmocka_unit_test_setup_teardown(hello_comes_first, setup, teardown),
        cmocka_unit_test_setup_teardown(rubbish_ends_the_connection_only, setup, teardown),
        cmocka_unit_test_setup_teardown(file_descriptors_are_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(ports_come_and_go, setup, teardown),
        cmocka_unit_test_setup_teardown(rules_read_back_as_they_were_given, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bulk_request_names_its_first_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(matches_need_the_kind_of_packet, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_list_comes_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(one_who_does_not_read_does_not_delay_others, setup, teardown),
        cmocka_unit_test_setup_teardown(events_reach_subscribers, setup, teardown),
        cmocka_unit_test_setup_teardown(a_subscriber_that_does_not_read_is_disconnected, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_house_prefers_those_who_said_hello, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_questions_and_ports_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(every_question_has_an_answer, setup, teardown),
        cmocka_unit_test(a_dead_socket_is_replaced_and_other_files_are_not),
    };
    int n_failed;

    if (!mkdtemp(directory))
        return 1;
    snprintf(path, sizeof path, "%s/socket", directory);
    n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(directory);
    return n_failed;
}
