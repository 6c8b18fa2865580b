/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_RECONCILE_FAKE_H
#define MANAGER_RECONCILE_FAKE_H

/*
 * For tests: a reconciler whose nodes are files, STATE_FOLDER/fake/SLICE/NODE, so that they outlive whoever made them. A file
 * holds the node's state and what it was made of: "running cpu=1 memory=268435456".
 *
 * Files in STATE_FOLDER make it misbehave: "fail" holds the name of a node that cannot be started, "fail-remove" makes removals
 * fail; "kill" holds the name of a node before whose start the process is killed, once; while there is "starting", nodes stay in
 * that state.
 */

#include "manager/reconcile.h"

#endif
