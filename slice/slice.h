/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SLICE_SLICE_H
#define SLICE_SLICE_H

/*
 * A slice as its owner describes it in a file NAME.vn.yml: nodes, links, guarantees. The file's language is
 * described in schema/slice.md, and for programs in schema/slice.schema.json.
 *
 *     struct slice_errors errors;
 *     struct slice *slice = slice_parse(text, size, &errors);
 *
 *     if (!slice)
 *         for (unsigned i = 0; i < errors.n; i++)
 *             printf("%u:%u: %s\n", errors.list[i].at.line, errors.list[i].at.column, errors.list[i].text);
 *     ...
 *     slice_free(slice);
 *
 * What is parsed is whole: names are resolved, defaults filled in, everything that one can
 * know without the machine is checked. Nothing here has state; any thread may call it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/limits.h"

#define SLICE_FILE_SIZE_MAX (1u << 20)
#define SLICE_NODES_MAX 256
#define SLICE_LINKS_MAX 512
#define SLICE_INTERFACES_MAX 32 /* of a node that is no switch */
#define SLICE_SWITCH_PORTS_MAX SLICE_LINKS_MAX
#define SLICE_CONTROLLERS_MAX 4
#define SLICE_ADDRESSES_MAX 4
#define SLICE_ERRORS_MAX 32
#define SLICE_PATH_SIZE 256       /* bytes of a file's name, with the final NUL */
#define NODE_NAME_SIZE 32         /* bytes of a node's name, with the final NUL */
#define INTERFACE_NAME_SIZE 16    /* IFNAMSIZ of Linux */
#define USER_DATA_SIZE_MAX 16384u /* bytes of cloud-init user-data in a slice file */

/* A place in a file, counted from 1. */
struct slice_place {
    unsigned line, column;
};

struct slice_error {
    struct slice_place at;
    char text[256]; /* a sentence, which names the item by its path in the file, such as "nodes.a.memory" */
};

struct slice_errors {
    unsigned n;
    bool more; /* there were more than fit */
    struct slice_error list[SLICE_ERRORS_MAX];
};

enum slice_node_kind {
    NODE_VM,        /* a virtual machine */
    NODE_NETNS,     /* a network namespace */
    NODE_SWITCH,    /* an Open vSwitch bridge of the slice's own */
    NODE_CONNECTOR, /* the way out: an interface of the machine */
    NODE_KINDS
};

enum slice_interface_kind {
    INTERFACE_VIRTIO, /* paravirtual, through the fast path */
    INTERFACE_HYBRID, /* paravirtual, and a virtual function that flows may take */
    INTERFACE_VF,     /* a virtual function alone */
    INTERFACE_KINDS
};

struct slice_interface {
    char name[INTERFACE_NAME_SIZE];
    struct slice_place at;
    enum slice_interface_kind kind;
    char mac[18];    /* "" : the manager chooses */
    uint16_t mtu;    /* 0: that of the slice's other ends, 1500 */
    uint16_t queues; /* pairs */
    unsigned n_addresses;
    char addresses[SLICE_ADDRESSES_MAX][64]; /* with prefix length: "10.0.0.1/24" */
    int link;                                /* index of its link; -1: none */
};

struct slice_node {
    char name[NODE_NAME_SIZE];
    enum slice_node_kind kind;
    struct slice_place at;

    /* interfaces; a switch's are its ports */
    unsigned n_interfaces;
    struct slice_interface *interfaces;

    /* VM */
    uint32_t cpu;
    uint64_t memory;               /* bytes */
    uint64_t disk;                 /* bytes of the overlay; 0: as the image */
    char image[SLICE_PATH_SIZE];   /* a qcow2 or raw file; "": the small guest */
    char *user_data;               /* for cloud-init; NULL: none */
    char cpu_pin[SLICE_PATH_SIZE]; /* host CPUs, such as "2-3"; "": any */

    /* switch */
    unsigned n_controllers;
    char controllers[SLICE_CONTROLLERS_MAX][SLICE_PATH_SIZE]; /* "tcp:127.0.0.1:6653"; none: a learning switch */
    bool fail_secure; /* forwards nothing new without its controller */

    /* connector */
    char device[SLICE_PATH_SIZE]; /* an interface's name, or a PCI address */
    uint16_t vlan;                /* 0: untagged */
};

struct slice_endpoint {
    unsigned node;
    unsigned interface; /* of that node */
};

struct slice_link {
    struct slice_place at;
    struct slice_endpoint ends[2];
    uint64_t rate; /* bit/s at most, each way; 0: no limit */
    uint64_t min;  /* bit/s guaranteed, each way */
};

enum slice_offload_mode {
    SLICE_OFFLOAD_OFF,
    SLICE_OFFLOAD_ON,
    SLICE_OFFLOAD_AUTO,
};

struct slice {
    char name[SLICE_NAME_SIZE];
    uint64_t lease_ms; /* 0: no expiry */
    struct {
        uint32_t cpu; /* 0: as much as the nodes need */
        uint64_t memory;
        uint64_t rate; /* bit/s */
        uint64_t rules;
    } budget;
    struct {
        enum slice_offload_mode mode;
        uint64_t promote, demote; /* packets/s */
        uint64_t hold_ms;
    } offload;
    unsigned n_nodes;
    struct slice_node *nodes;
    unsigned n_links;
    struct slice_link *links;
};

/*
 * Parses a slice file's text. Returns the slice, to be freed with slice_free(); or NULL when it has errors, which
 * are in 'errors' in the order of their places.
 */
struct slice *slice_parse(const char *text, size_t size, struct slice_errors *errors);

/*
 * Reads a file of at most SLICE_FILE_SIZE_MAX bytes; "-" is standard input. Returns its text, with a final NUL, to be freed; or NULL
 * with an error at place 0:0.
 */
char *slice_read_file(const char *path, size_t *size, struct slice_errors *errors);

/* Reads and parses the file 'path'; "-" is standard input. An error in reading has the place 0:0. */
struct slice *slice_parse_file(const char *path, struct slice_errors *errors);

/* Notes an error at a place. */
void slice_errors_add(struct slice_errors *errors, struct slice_place at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Frees a slice; NULL: nothing. */
void slice_free(struct slice *slice);

const char *slice_node_kind_name(enum slice_node_kind kind);
const char *slice_interface_kind_name(enum slice_interface_kind kind);
const char *slice_offload_mode_name(enum slice_offload_mode mode);

/* Whether it is a name: a letter, then letters, digits, '-' and '_'; fits 'size' bytes with the final NUL. */
bool slice_name_is_good(const char *name, size_t size);

/* The index of the node called 'name', or -1. */
int slice_find_node(const struct slice *slice, const char *name);

/* What all virtual machines need together. */
uint64_t slice_memory(const struct slice *slice);
uint32_t slice_cpu(const struct slice *slice);

#endif
