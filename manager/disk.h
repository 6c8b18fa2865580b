/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_DISK_H
#define MANAGER_DISK_H

/*
 * Disks of machines: what a machine writes goes to a file of its own, a qcow2 overlay; the image below is only read, and many
 * machines may share it.
 *
 *     disk_create_overlay("/var/lib/vnode/demo.a.qcow2", "/srv/images/debian.qcow2", 0, &error);
 *
 * An image is somebody's file, and may be hostile. Its format is looked at once, and written into the overlay, so that no content
 * of it decides that later. Images that lean on further files are refused: those names would make the host open whatever
 * they say. And whoever looks, qemu-img, does so as VM_USER, who can read what machines may read, and no more.
 */

#include <stdint.h>

#include "lib/error.h"

/*
 * Makes the overlay 'path', for QEMU's user, over 'image', a qcow2 or raw file. Both are absolute paths. 'size' is in bytes, 0: as the
 * image; less than the image has is EINVAL. Returns 0, or an errno value, and leaves no file then.
 */
int disk_create_overlay(const char *path, const char *image, uint64_t size, struct error *error);

#endif
