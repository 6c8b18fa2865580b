/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/memory_fault.h"

#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

#include "fastpath/port_internal.h"
#include "fastpath/vhost_port.h"

/* Maps zeroes over the page at 'address'; a mapping of hugepages can only be replaced a hugepage at a time. */
static bool map_zeroes(uintptr_t address)
{
    static const uintptr_t page_sizes[] = {4096, 2u << 20, 1u << 30};

    for (unsigned i = 0; i < sizeof page_sizes / sizeof *page_sizes; i++) {
        uintptr_t size = page_sizes[i];
        void *page = (void *)(address & ~(size - 1));

        if (mmap(page, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page)
            return true;
    }
    return false;
}

static void on_memory_fault(int signal_number, siginfo_t *info, void *context)
{
    for (uint16_t id = 0; id < PORTS_MAX; id++) {
        struct port *port = port_by_id(id);

        if (port && vhost_port_memory_lost(port, info->si_addr) && map_zeroes((uintptr_t)info->si_addr))
            return;
    }
    /* Not a guest's memory: a fault of our own, which is to be seen as one. */
    signal(signal_number, SIG_DFL);
}

void memory_fault_install(void)
{
    struct sigaction action = {.sa_sigaction = on_memory_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};

    sigaction(SIGBUS, &action, NULL);
}
