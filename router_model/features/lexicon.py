"""Groups of words that hint at what is asked for, counted in the user's text."""

from collections.abc import Mapping

from router_model.features.schema import Feature


def word_set(words: str) -> frozenset[str]:
    """The words of a text laid out for reading.

    >>> sorted(word_set("read view"))
    ['read', 'view']
    """
    return frozenset(words.split())


_GROUPS: tuple[tuple[str, str, str], ...] = (
    ("debug", "faults", "traceback error errors exception bug bugs crash crashes fail fails failed "
     "failing failure broken wrong issue issues unexpected incorrect incorrectly raises debug"),
    ("fix", "repairing", "fix fixes fixed repair solve solves resolve resolves correct patch"),
    ("implement", "building", "implement implements add create build write develop support feature "
     "generate make construct extend introduce"),
    ("refactor", "restructuring", "refactor refactoring cleanup clean simplify extract split "
     "restructure reorganize modularize migrate upgrade deduplicate"),
    ("rename", "renaming and small edits", "rename renames renamed typo typos bump replace reword "
     "comment docstring format lint"),
    ("test", "testing", "test tests testing unittest pytest coverage assert asserts mock verify "
     "reproduce spec"),
    ("explain", "explaining", "explain describe summarize summarise summary overview what meaning "
     "understand clarify compare difference walk"),
    ("why", "causes", "why reason because cause causes root investigate diagnose"),
    ("find", "finding", "find search locate list show look lookup get retrieve fetch check which "
     "where"),
    ("review", "reviewing", "review audit inspect analyze analyse assess evaluate critique"),
    ("performance", "speed and memory", "optimize optimise performance slow fast faster speed "
     "memory latency efficient complexity bottleneck cache profile"),
    ("docs", "documentation", "readme docs documentation changelog tutorial guide"),
    ("git", "version control", "git commit commits branch merge rebase push pull pr diff"),
    ("data", "data", "sql query database table tables column columns csv dataframe pandas join "
     "schema dataset"),
    ("algorithm", "algorithms", "algorithm array arrays tree graph node nodes string substring "
     "sequence sorted sort recursive dynamic integer integers permutation subarray"),
    ("math", "mathematics", "prove proof equation integral derivative probability theorem matrix "
     "polynomial solve angle triangle sum product prime modulo"),
    ("calculate", "calculations", "calculate compute determine estimate convert average total "
     "percentage many much distance"),
    ("constraint", "conditions", "must only without except unless never not ensure exactly least "
     "most cannot avoid should if"),
    ("conjunction", "further requests", "and then also additionally plus next finally after "
     "afterwards second secondly"),
    ("quantifier", "many things at once", "all every each both several multiple various entire "
     "whole across respectively"),
)  # fmt: skip

LEXICON_FEATURES = tuple(
    Feature(f"words_{name}", "count", f"words about {meaning} in the user's text")
    for name, meaning, _ in _GROUPS
)

CONJUNCTION = [name for name, _, _ in _GROUPS].index("conjunction")


def _groups_of_words() -> dict[bytes, tuple[int, ...]]:
    groups: dict[bytes, tuple[int, ...]] = {}
    for number, (_, _, words) in enumerate(_GROUPS):
        for word in words.split():
            key = word.encode()
            groups[key] = (*groups.get(key, ()), number)
    return groups


_GROUPS_OF = _groups_of_words()


def lexicon_counts(words: Mapping[bytes, int]) -> list[int]:
    """How many of the words, given with their numbers, belong to each group.

    >>> counts = lexicon_counts({b"fix": 1, b"the": 3, b"bug": 1, b"and": 2, b"commit": 1})
    >>> [(f.name, n) for f, n in zip(LEXICON_FEATURES, counts) if n]
    [('words_debug', 1), ('words_fix', 1), ('words_git', 1), ('words_conjunction', 2)]
    """
    counts = [0] * len(_GROUPS)
    for word in _GROUPS_OF.keys() & words.keys():  # in any order: the sums are of integers
        for group in _GROUPS_OF[word]:
            counts[group] += words[word]
    return counts
