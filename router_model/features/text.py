"""Features of what the user wrote last: its form, not its meaning.

Everything works on the bytes of a bounded text (see `harness`), with translation tables and
counts in C, because this runs on every call.
"""

import re
from collections import Counter
from functools import lru_cache
from typing import NamedTuple

from router_model.features.lexicon import CONJUNCTION, LEXICON_FEATURES, lexicon_counts
from router_model.features.schema import Feature

TEXT_FEATURES = (
    Feature("n_text_words", "count", "words of the user's text, bounded to its head and tail"),
    Feature("n_sentences", "count", "sentence ends in it, at least 1 for a text"),
    Feature("mean_word_length", "bytes", "mean length of its words"),
    Feature("type_token_ratio", "share", "distinct words of all words"),
    Feature("non_ascii_share", "share", "bytes outside ASCII"),
    Feature("uppercase_share", "share", "bytes that are capital letters"),
    Feature("n_capitalised", "count", "words that begin with one capital letter"),
    Feature("n_numbers", "count", "runs of digits"),
    Feature("n_questions", "count", "question marks"),
    Feature("n_commas", "count", "commas and semicolons"),
    Feature("n_quotes", "count", "quotation marks and backticks"),
    Feature("n_lines", "count", "non-empty lines"),
    Feature("n_list_items", "count", "lines that are bullets or numbered items"),
    Feature("n_file_paths", "count", "names with a file extension that programmers use"),
    Feature("n_urls", "count", "web addresses"),
    Feature("n_code_blocks", "count", "fenced code blocks"),
    Feature("prose_share", "share", "characters of lines that are prose"),
    Feature("code_share", "share", "characters of lines that look like code or are fenced"),
    Feature("json_share", "share", "characters of lines that look like JSON"),
    Feature("diff_share", "share", "characters of lines of a diff"),
    Feature("trace_share", "share", "characters of lines of a stack trace"),
    Feature("is_multiple_choice", "flag", "lettered options to choose from"),
    Feature("n_math_marks", "count", "TeX commands, dollar signs, carets, mathematical characters"),
    Feature(
        "n_clauses", "count", "1 + joining words + list items: about how many things are asked"
    ),
    *LEXICON_FEATURES,
)


def _words_table() -> bytes:
    table = bytearray(b" ") * 256
    for byte in range(256):
        char = chr(byte)
        if byte >= 0x80 or (char.isascii() and char.isalnum()):
            table[byte] = ord(char.lower()) if byte < 0x80 else byte
    return bytes(table)


def _table(members: bytes) -> bytes:
    """Keep these bytes and turn all others into spaces."""
    return bytes(byte if byte in members else 32 for byte in range(256))


_WORDS = _words_table()
_DIGITS_ONLY = _table(b"0123456789")
_SENTENCE_ENDS = bytes(
    46 if byte in b".?!" else 32 if byte in b" \n\t\r" else 65 for byte in range(256)
)
_NOT_UPPER = bytes(range(0x41, 0x5B))
_NOT_ASCII_REMOVED = bytes(range(0x80))
_CAPITALISED = re.compile(rb"\b[A-Z][a-z]")
_PATH = re.compile(
    rb"\.(?:py|pyi|js|jsx|ts|tsx|mjs|go|rs|java|kt|c|h|cc|cpp|hpp|cs|rb|php|swift|scala|lua|sh|sql|"
    rb"html|css|scss|vue|svelte|json|yaml|yml|toml|ini|cfg|env|lock|xml|md|rst|txt|csv|ipynb|proto|"
    rb"tf|gradle|log)\b"
)
_LIST_ITEM = re.compile(rb"\n[ \t]*(?:[-*\xe2]|\d{1,2}[.)])[ \t]?\S")
_OPTION = re.compile(rb"\n[ \t]*\(?([A-F])[.):][ \t]*\S")
_TEX = re.compile(rb"\\[a-z]{2,}")
_CODE_STARTS = (
    b"def ", b"class ", b"import ", b"from ", b"return ", b"if (", b"for (", b"while (",
    b"const ", b"let ", b"var ", b"function ", b"public ", b"private ", b"#include", b"assert ",
    b"$ ", b">>> ", b"SELECT ", b"fn ", b"func ", b"async ", b"@", b"//", b"/*", b"print(",
    b"package ", b"#!", b"</",
)  # fmt: skip
_CODE_ENDS = (b"{", b"}", b";", b"):", b"],", b");", b"=>", b"({", b"})")
_TRACE_STARTS = (b"Traceback", b'File "', b"at ", b"Caused by", b"goroutine ", b"thread '")
_DIFF_STARTS = (b"+", b"-", b"@@", b"diff ", b"index ", b"<<<<<<<", b"=======", b">>>>>>>")


class TextFacts(NamedTuple):
    """Values of `TEXT_FEATURES`, the distinct words in their order, and two counts.

    `padded` is the text as lower-case words, each with a space before and after it.
    """

    values: tuple[float, ...]
    distinct: tuple[bytes, ...]
    n_clauses: int
    n_numbers: int
    padded: bytes


def plain_words(text: str) -> bytes:
    """Lower-case words of a text, all else made spaces.

    >>> plain_words("New-York ")
    b'new york'
    """
    return text.encode("utf-8", "replace").translate(_WORDS).strip()


# An agent works on one instruction for many calls.
@lru_cache(maxsize=256)
def text_facts(text: str) -> TextFacts:
    """Form and words of a bounded text; all zero for the empty text."""
    raw = text.encode("utf-8", "replace")
    if not raw:
        return TextFacts((0.0,) * len(TEXT_FEATURES), (), 0, 0, b"")
    spaced = raw.translate(_WORDS)
    words = spaced.split()
    counted = Counter(words)
    distinct = tuple(counted)
    n_words = max(1, len(words))
    n_sentences = max(1, _n_sentences(raw))
    lexicon = lexicon_counts(counted)
    on_lines = b"\n" + raw
    n_items = len(_LIST_ITEM.findall(on_lines))
    n_clauses = 1 + lexicon[CONJUNCTION] + n_items
    n_numbers = len(raw.translate(_DIGITS_ONLY).split())
    values = (
        len(words),
        n_sentences,
        len(spaced.translate(None, b" ")) / n_words,
        len(distinct) / n_words,
        len(raw.translate(None, _NOT_ASCII_REMOVED)) / len(raw),
        1.0 - len(raw.translate(None, _NOT_UPPER)) / len(raw),
        len(_CAPITALISED.findall(raw)),
        n_numbers,
        raw.count(b"?"),
        raw.count(b",") + raw.count(b";"),
        raw.count(b'"') + raw.count(b"`") + raw.count(b" '"),
        1 + raw.count(b"\n") - raw.count(b"\n\n"),
        n_items,
        len(_PATH.findall(raw)),
        raw.count(b"://"),
        (raw.count(b"```") + 1) // 2,
        *_line_shares(raw),
        len(set(_OPTION.findall(on_lines))) >= 3,
        _n_math_marks(raw),
        n_clauses,
        *lexicon,
    )
    return TextFacts(values, distinct, n_clauses, n_numbers, b" " + spaced + b" ")


def _n_sentences(raw: bytes) -> int:
    return raw.translate(_SENTENCE_ENDS).count(b". ") + raw.endswith((b".", b"?", b"!"))


def _n_math_marks(raw: bytes) -> int:
    marks = raw.count(b"^") + raw.count(b"$")
    if b"\\" in raw:
        marks += len(_TEX.findall(raw))
    if b"\xe2" in raw:  # arrows and operators, U+2190 to U+22FF
        marks += raw.count(b"\xe2\x86") + raw.count(b"\xe2\x88") + raw.count(b"\xe2\x89")
    return marks


def _line_shares(raw: bytes) -> tuple[float, float, float, float, float]:
    """Shares of (prose, code, JSON, diff, stack trace) by characters of non-empty lines."""
    has_diff = b"\n@@" in raw or b"diff --git" in raw or b"<<<<<<<" in raw
    has_trace = b"Traceback (" in raw or b"\n    at " in raw or b"\ngoroutine " in raw
    counts = [0, 0, 0, 0, 0]
    in_fence = False
    for line in raw.split(b"\n"):
        bare = line.strip()
        if not bare:
            continue
        if bare.startswith(b"```"):
            in_fence = not in_fence
            counts[1] += len(bare)
        elif has_diff and line.startswith(_DIFF_STARTS):
            counts[3] += len(bare)
        elif has_trace and bare.startswith(_TRACE_STARTS):
            counts[4] += len(bare)
        elif in_fence:
            counts[1] += len(bare)
        else:
            counts[_line_kind(line, bare)] += len(bare)
    total = max(1, sum(counts))
    prose, code, json, diff, trace = counts
    return prose / total, code / total, json / total, diff / total, trace / total


def _line_kind(line: bytes, bare: bytes) -> int:
    """0 prose, 1 code, 2 JSON."""
    if bare[0] in b'{}[]"' and bare[-1] in b'{}[]",' and len(bare) > 1:
        return 2
    if bare.startswith(_CODE_STARTS) or bare.endswith(_CODE_ENDS):
        return 1
    return 1 if line.startswith((b"    ", b"\t")) and b"=" in bare else 0
