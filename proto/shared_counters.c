/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/shared_counters.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

static size_t memory_size(uint32_t n_slots)
{
    return sizeof(struct shared_counters_header) + PORTS_MAX * sizeof(struct shared_port_counters) +
           (size_t)n_slots * sizeof(struct shared_rule_counters);
}

static void set_memory(struct shared_counters *counters, void *memory, uint32_t n_slots)
{
    counters->memory = memory;
    counters->size = memory_size(n_slots);
    counters->n_slots = n_slots;
    counters->ports = (void *)((struct shared_counters_header *)memory + 1);
    counters->slots = (void *)(counters->ports + PORTS_MAX);
}

int shared_counters_create(struct shared_counters *counters, uint32_t n_slots, struct error *error)
{
    struct shared_counters_header *header;
    size_t size = memory_size(n_slots);
    int code = 0;

    *counters = (struct shared_counters){.fd = memfd_create("vnode-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    if (counters->fd < 0 || ftruncate(counters->fd, (off_t)size))
        goto failed;
    header = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, counters->fd, 0);
    if (header == MAP_FAILED)
        goto failed;
    set_memory(counters, header, n_slots);
    header->magic = SHARED_COUNTERS_MAGIC;
    header->version = SHARED_COUNTERS_VERSION;
    header->n_ports = PORTS_MAX;
    header->n_slots = n_slots;
    /* Our own mapping stays writable; nobody can make another. */
    if (fcntl(counters->fd, F_ADD_SEALS, SEALS | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL))
        goto failed;
    return 0;
failed:
    code = errno;
    shared_counters_close(counters);
    return error_set(error, code, "Memory for shared counters of %u rules cannot be made: %s.", n_slots,
                     strerror(code));
}

int shared_counters_map(struct shared_counters *counters, int fd, struct error *error)
{
    const struct shared_counters_header *header;
    struct stat status;
    uint32_t n_slots;
    void *memory;

    *counters = (struct shared_counters){.fd = -1};
    if ((fcntl(fd, F_GET_SEALS) & SEALS) != SEALS)
        return error_set(error, EINVAL, "The memory of the shared counters is not sealed.");
    if (fstat(fd, &status) || (uint64_t)status.st_size < memory_size(0) ||
        (uint64_t)status.st_size > memory_size(RULES_MAX))
        return error_set(error, EINVAL, "The memory of the shared counters has an impossible size.");
    memory = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return error_set(error, errno, "The shared counters cannot be mapped: %s.", strerror(errno));
    header = memory;
    n_slots = header->n_slots; /* read once */
    if (header->magic != SHARED_COUNTERS_MAGIC || header->version != SHARED_COUNTERS_VERSION ||
        header->n_ports != PORTS_MAX || n_slots > RULES_MAX || memory_size(n_slots) != (size_t)status.st_size) {
        munmap(memory, (size_t)status.st_size);
        return error_set(error, EINVAL, "The shared counters are not of version %u, or damaged.",
                         SHARED_COUNTERS_VERSION);
    }
    set_memory(counters, memory, n_slots);
    return 0;
}

void shared_counters_close(struct shared_counters *counters)
{
    if (counters->memory)
        munmap(counters->memory, counters->size);
    if (counters->fd >= 0)
        close(counters->fd);
    *counters = (struct shared_counters){.fd = -1};
}
