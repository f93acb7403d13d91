"""Products of sizes in the Triton IR of a kernel: one of 32 bits would overflow as an offset into a large tensor."""

import re


def find_narrow_products(ir: str) -> list[str]:
    """Return the lines that multiply two numbers of 32 bits, neither of them constant."""
    constants = set(re.findall(r"%(\S+) = arith\.constant", ir))
    products = re.finditer(r"\S+ = arith\.muli %(\S+), %(\S+) : (i32|tensor<\S*xi32>)", ir)
    return [found[0] for found in products if found[1] not in constants and found[2] not in constants]
