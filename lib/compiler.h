/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VNODE_COMPILER_H
#define VNODE_COMPILER_H

/* Hints for branches of the packet path, whose odds are known. */
#ifndef likely /* DPDK has them, too */
#define likely(condition) __builtin_expect(!!(condition), 1)
#endif
#ifndef unlikely
#define unlikely(condition) __builtin_expect(!!(condition), 0)
#endif

#endif
