/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/shared_counters.h"

static void readers_see_what_is_written(void **state)
{
    struct shared_counters writer, reader;
    struct error error;

    assert_int_equal(shared_counters_create(&writer, 1000, &error), 0);
    assert_int_equal(shared_counters_map(&reader, writer.fd, &error), 0);
    assert_int_equal(reader.n_slots, 1000);
    assert_int_equal(atomic_load(&reader.slots[999].packets), 0);
    atomic_store(&writer.slots[999].packets, 5);
    atomic_store(&writer.slots[0].bytes, 7);
    atomic_store(&writer.ports[PORTS_MAX - 1].flags, SHARED_PORT_EXISTS | SHARED_PORT_UP);
    assert_int_equal(atomic_load(&reader.slots[999].packets), 5);
    assert_int_equal(atomic_load(&reader.slots[0].bytes), 7);
    assert_int_equal(atomic_load(&reader.ports[PORTS_MAX - 1].flags), SHARED_PORT_EXISTS | SHARED_PORT_UP);
    shared_counters_close(&reader);
    shared_counters_close(&writer);
    shared_counters_close(&writer);
}

static void readers_can_change_nothing(void **state)
{
    struct shared_counters writer;
    struct error error;

    assert_int_equal(shared_counters_create(&writer, 1, &error), 0);
    assert_ptr_equal(mmap(NULL, writer.size, PROT_READ | PROT_WRITE, MAP_SHARED, writer.fd, 0), MAP_FAILED);
    assert_int_equal(ftruncate(writer.fd, 0), -1);
    assert_int_equal(ftruncate(writer.fd, 1 << 20), -1);
    assert_int_equal(write(writer.fd, "x", 1), -1);
    shared_counters_close(&writer);
}

static void other_memory_is_refused(void **state)
{
    struct shared_counters writer, reader;
    struct shared_counters_header header = {
        .magic = SHARED_COUNTERS_MAGIC, .version = SHARED_COUNTERS_VERSION, .n_ports = PORTS_MAX, .n_slots = 2};
    struct error error;
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_int_equal(shared_counters_create(&writer, 1, &error), 0);
    assert_int_equal(ftruncate(fd, (off_t)writer.size), 0);
    assert_int_equal(shared_counters_map(&reader, fd, &error), EINVAL); /* not sealed */
    assert_int_equal(pwrite(fd, &header, sizeof header, 0), sizeof header);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    assert_int_equal(shared_counters_map(&reader, fd, &error), EINVAL); /* more slots than memory */
    header.n_slots = 1;
    assert_int_equal(pwrite(fd, &header, sizeof header, 0), sizeof header);
    assert_int_equal(shared_counters_map(&reader, fd, &error), 0);
    shared_counters_close(&reader);
    header.version = 2;
    assert_int_equal(pwrite(fd, &header, sizeof header, 0), sizeof header);
    assert_int_equal(shared_counters_map(&reader, fd, &error), EINVAL);
    assert_int_equal(shared_counters_map(&reader, -1, &error), EINVAL);
    close(fd);
    shared_counters_close(&writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_see_what_is_written),
        cmocka_unit_test(readers_can_change_nothing),
        cmocka_unit_test(other_memory_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
