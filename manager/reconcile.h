/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_RECONCILE_H
#define MANAGER_RECONCILE_H

/*
 * Makes what runs on this machine into what slices say: virtual machines, Open vSwitch's bridges, ports and rules of the
 * fast path, network namespaces.
 *
 *     reconciler_open(&reconciler, &settings, &error);
 *     reconcile_slice(reconciler, &wish, &progress, &error);   // there it runs, whatever was there before
 *     reconcile_remove(reconciler, "demo", &error);            // nothing of it is left
 *     reconciler_close(reconciler);
 *
 * Nothing is remembered between two calls: each looks at what there is, and does what is missing. So whoever is
 * killed in the middle of one calls it again, or calls reconcile_remove(). What belongs to a slice bears its name.
 * Calls block until Open vSwitch, libvirt and the fast path have done their part (guests boot on their own); one thread at a time.
 * Machines start and end in threads that a call makes, and that have ended when it returns.
 */

#include "manager/vm.h"
#include "slice/slice.h"

/* Borrowed, for as long as the reconciler lives. */
struct reconcile_settings {
    const char *run_folder;      /* sockets, gone at the next boot: /run/vnode */
    const char *state_folder;    /* disks, logs of consoles: /var/lib/vnode */
    const char *fastpath_socket; /* control socket of the fast path */
    const char *vswitch_db;      /* Open vSwitch's database: "unix:/..." */
    const char *guest_kernel;    /* of the small guest */
    const char *guest_initrd;
    const struct vm_driver *vm_driver;
    bool hardware; /* machines by KVM */
    bool huge;     /* machines in hugepages */
};

/* What a slice shall be. */
struct slice_wish {
    const struct slice *slice;
    unsigned n_stopped;
    const char *const *stopped; /* names of its nodes that shall not run; their links stay */
};

/* May be NULL, and so may 'step': told before each step that takes time, such as "starting machine a". */
struct reconcile_progress {
    void (*step)(const char *node, const char *text, void *argument);
    void *argument;
};

/* A node's state: "running", "starting" (the fast path waits for it), "stopped", or "failed" with a sentence. */
struct node_state {
    const char *node;
    const char *state;
    char why[256];        /* "" unless it failed */
    uint64_t cpu_time_ns; /* of a virtual machine */
};

struct reconciler;

/* Opens what there is to be opened once; the fast path and Open vSwitch may come and go. 0, or an errno value. */
int reconciler_open(struct reconciler **reconciler, const struct reconcile_settings *settings,
                    struct error *error);

/* For how many milliseconds, since it was opened, machines were being started or ended, one or several at the same time. */
int64_t reconciler_machines_ms(struct reconciler *reconciler);

/* What runs goes on. NULL: nothing. */
void reconciler_close(struct reconciler *reconciler);

/*
 * Makes a slice run as 'wish' says, from whatever state it is in: a node or link that is as it should be is not disturbed. On
 * an error what was done stays done; the sentence names the node or link.
 */
int reconcile_slice(struct reconciler *reconciler, const struct slice_wish *wish,
                    const struct reconcile_progress *progress, struct error *error);

/* Removes all of a slice: goes on after an error, and returns the first. No error when there is nothing. */
int reconcile_remove(struct reconciler *reconciler, const char *slice, struct error *error);

/* Calls 'found' once with each name of a slice of which anything is there: who is not wanted can be removed. */
int reconcile_list(struct reconciler *reconciler, void (*found)(const char *slice, void *argument),
                   void *argument, struct error *error);

/* Calls 'found' with the state of each node of a slice. */
int reconcile_states(struct reconciler *reconciler, const struct slice_wish *wish,
                     void (*found)(const struct node_state *state, void *argument), void *argument,
                     struct error *error);

#endif
