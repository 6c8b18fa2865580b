# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: processes, switches, the load generator, reports."""
