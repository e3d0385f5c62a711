"""Parse seeds on the command line."""

from itertools import chain

from progan.errors import InputError


def parse_seeds(text: str) -> list[int]:
    """ "7", "0-15" or "1,4,8-11" as a list; InputError for anything else."""
    ranges: list[range] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"--seeds: {text}: whole numbers and ranges are expected, such as 0-15 or 1,4,8")
        ranges.append(range(int(first), int(last or first) + 1))
    count = sum(max(seeds.stop - seeds.start, 0) for seeds in ranges)
    if not 0 < count <= 100_000 or max(seeds.stop for seeds in ranges) > 2**63:
        raise InputError(f"--seeds: {text}: 1 to 100,000 seeds are expected, each below 2^63")
    return list(chain.from_iterable(ranges))
