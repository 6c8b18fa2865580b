# SPDX-License-Identifier: Apache-2.0
"""The evaluation: throughput and the host's CPU with 1 to 8 guests, by Open vSwitch and by the fast path (docs/evaluation.md)."""
