"""Guesses which client sent a request, from its system text and its tools."""

from functools import lru_cache

from router_model.types import Request

_HEAD = 2_000

_IN_SYSTEM = (
    ("x-anthropic-billing-header", "claude-code"),
    ("Claude Code", "claude-code"),
    ("Claude Agent SDK", "claude-code"),
    ("Codex", "codex"),
    ("opencode", "opencode"),
    ("Qwen Code", "qwen-code"),
    ("Gemini CLI", "gemini-cli"),
    ("You are Cline", "cline"),
    ("You are Roo", "roo-code"),
    ("OpenHands", "openhands"),
    ("goose", "goose"),
    ("Cursor", "cursor"),
    ("GitHub Copilot", "copilot"),
    ("operating inside pi", "pi"),
    ("SEARCH/REPLACE", "aider"),
    ("Act as an expert software developer", "aider"),
    ("interact with a computer", "mini-swe-agent"),
    ("interact multiple times with a computer shell", "mini-swe-agent"),
)

_BY_TOOLS = (
    (frozenset({"exec_command", "write_stdin"}), "codex"),
    (frozenset({"Bash", "Read", "Edit"}), "claude-code"),
    (frozenset({"run_shell_command", "search_file_content"}), "gemini-cli"),
    (frozenset({"execute_command", "replace_in_file"}), "cline"),
    (frozenset({"todowrite", "webfetch"}), "opencode"),
)


def client_family(request: Request) -> str:
    """The client's name in lower case, or "" when nothing gives it away."""
    if family := _family_of_system(request.system[:_HEAD]):
        return family
    names = {tool.name for tool in request.tools[:64]}
    for tools, family in _BY_TOOLS:
        if tools <= names:
            return family
    return ""


@lru_cache(maxsize=256)
def _family_of_system(head: str) -> str:
    """A client repeats its system prompt on every call, so the answer is kept."""
    return next((family for sign, family in _IN_SYSTEM if sign in head), "")
