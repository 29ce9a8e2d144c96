"""Counts the records of an import that can't be used, by reason, and says so line by line."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from router_data.imports.naming import count_in

_MAX_NUMBERS, _MAX_SHOWN = 100, 10


class Refused:
    """Unusable records by reason: how many, and the numbers of at most a hundred of each."""

    def __init__(self) -> None:
        self.problems: Counter[str] = Counter()
        self.numbers: defaultdict[str, list[int]] = defaultdict(list)

    def add(self, number: int, problem: str) -> None:
        """Count the record of this number."""
        count_in(self.problems, problem)
        if problem in self.problems and len(self.numbers[problem]) < _MAX_NUMBERS:
            self.numbers[problem].append(number)

    def bad_lines(self) -> Mapping[str, tuple[int, ...]]:
        """The numbers by reason."""
        return {reason: tuple(numbers) for reason, numbers in self.numbers.items()}


def problem_lines(
    problems: Mapping[str, int],
    bad_lines: Mapping[str, Sequence[int]],
    left_out: Mapping[str, int],
) -> Iterator[str]:
    """What could not be used and what was left out, a line for each reason.

    >>> list(problem_lines({"line: not valid JSON": 2}, {"line: not valid JSON": [3, 4]}, {}))
    ['  2 x line: not valid JSON (line 3, 4)']
    """
    for reason, n in sorted(problems.items()):
        lines = bad_lines.get(reason, ())
        shown = ", ".join(str(line) for line in lines[:_MAX_SHOWN])
        more = ", ..." if len(lines) > _MAX_SHOWN else ""
        yield f"  {n} x {reason}" + (f" (line {shown}{more})" if lines else "")
    for reason, n in sorted(left_out.items()):
        yield f"  {n} left out: {reason}"
