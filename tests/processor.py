"""What this machine's processor can do, for tests of kernels that need it."""

from __future__ import annotations

from pathlib import Path

import pytest

INT8_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})
"""Names in /proc/cpuinfo of instructions that sum products of bytes in 32 bits. Without them ONNX Runtime sums pairs
in 16 bits, which saturates, and a 4-bit product of one row is summed in another order than one of many."""


def flags() -> set[str]:
    """Those of the first processor; empty where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return next((set(line.split(":", 1)[1].split()) for line in lines if line.startswith(("flags", "Features"))), set())


HAS_INT8_PRODUCTS = bool(INT8_PRODUCTS & flags())
needs_int8_products = pytest.mark.skipif(
    not HAS_INT8_PRODUCTS, reason="needs a processor with int8 dot products (VNNI, AMX or Arm's)"
)
