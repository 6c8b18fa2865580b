/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_CAPACITY_H
#define MANAGER_CAPACITY_H

#include "manager/admission.h"
#include "manager/config.h"

/* What this machine has for slices, under these settings. */
struct admission_capacity capacity_of(const struct config *config);

#endif
