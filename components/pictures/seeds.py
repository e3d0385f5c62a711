"""Seeds as people write them."""

from progan.errors import InputError


def parse_seeds(text: str) -> list[int]:
    """ "7", "0-15" or "1,4,8-11" as a list; InputError for anything else."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"--seeds: {text}: whole numbers and ranges are expected, such as 0-15 or 1,4,8")
        seeds += range(int(first), int(last or first) + 1)
    if not 0 < len(seeds) <= 100_000 or max(seeds) >= 2**63:
        raise InputError(f"--seeds: {text}: from 1 to 100,000 of them are expected")
    return seeds
