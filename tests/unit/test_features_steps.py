import pytest
from conversations import SHELL_TOOLS, ask, assistant, bash, result, user

from router_model.features import extract
from router_model.types import Message, Request, StepType, ToolChoice

SIDE_CALLS_BY_SYSTEM = [
    (StepType.TITLE, "You are a title generator. Answer with nothing but a title."),
    (StepType.TITLE, "Generate a short title for this coding session, 3 to 6 words."),
    (StepType.TITLE, "You write concise thread names. Summarize the chat in under 50 characters."),
    (StepType.COMMIT_MESSAGE, "You are an engineer that writes one-line Git commit messages."),
    (StepType.COMMIT_MESSAGE, "Your task is to write a commit message for the given diff."),
    (StepType.COMPACTION, "You are a helpful assistant tasked with summarizing conversations."),
    (StepType.COMPACTION, "You are the component that summarizes chat history into a snapshot."),
    (StepType.SUMMARY, "You are a summarizer. Shorten tool output to 200 words."),
    (StepType.CLASSIFY, "Analyze if this message starts a new topic. Answer in JSON."),
    (StepType.CLASSIFY, "You are a request classifier. Answer simple or complex."),
    (StepType.CLASSIFY, "Your task is to determine whether the command is safe."),
]
SIDE_CALLS_BY_USER = [
    (StepType.COMMIT_MESSAGE, "Write a commit message for these changes:\n+ x = 1"),
    (StepType.COMMIT_MESSAGE, "Generate a concise commit message based on the following diff"),
    (StepType.TITLE, "Please write a 5-10 word title for the following conversation:"),
    (StepType.TITLE, "Generate a title for this conversation:\nFix the bug"),
    (StepType.COMPACTION, "Summarize the conversation so far so that we can continue."),
    (StepType.COMPACTION, "*Briefly* summarize this partial conversation about programming."),
    (StepType.COMPACTION, "Your task is to create a detailed summary of the conversation so far."),
    (
        StepType.COMPACTION,
        "You must now create a hand-off summary of this session for a colleague.",
    ),
    (StepType.SUMMARY, "Summarize the following tool output in 100 words: ..."),
    (StepType.CLASSIFY, "quota"),
]
TASKS_THAT_MENTION_SIDE_CALLS = [
    "Fix the commit message parser in hooks.py",
    "Add a summary section to the README and a title to each page",
    "Write a function that generates a title for a blog post",
    "Write a commit message linter in Go",
    "Implement compaction: summarize the conversation when the context is full",
    "The test for summarize_conversation fails, fix it",
    "Explain how conversation history is summarized in this repository",
    "Rename class TitleGenerator to Titles and commit with a good message",
    "Create a table with the columns name and title",
    "Write a classifier for spam messages",
    "What does the error 'quota exceeded' mean?",
    "Compress the images in the session folder",
]


@pytest.mark.parametrize(("step", "system"), SIDE_CALLS_BY_SYSTEM)
def test_a_clerical_system_prompt_without_tools_makes_a_side_call(
    step: StepType, system: str
) -> None:
    assert extract(ask(user("Fix the bug in calc.py"), system=system)).step_type is step


@pytest.mark.parametrize(("step", "text"), SIDE_CALLS_BY_USER)
def test_an_order_that_opens_the_user_text_makes_a_side_call(step: StepType, text: str) -> None:
    assert extract(ask(user(text), system="You are helpful.")).step_type is step


@pytest.mark.parametrize("text", TASKS_THAT_MENTION_SIDE_CALLS)
@pytest.mark.parametrize("tools", [(), SHELL_TOOLS])
def test_a_task_that_mentions_a_side_call_stays_a_main_turn(text: str, tools: tuple[()]) -> None:
    request = ask(user(text), system="You are an expert software developer.", tools=tools)
    assert extract(request).step_type is StepType.MAIN


def test_an_order_for_a_commit_message_is_a_main_turn_where_tools_are_offered() -> None:
    request = ask(user("Write a commit message for the staged changes"), tools=SHELL_TOOLS)
    assert extract(request).step_type is StepType.MAIN


def test_compaction_is_recognised_with_tools_when_there_is_something_to_compact() -> None:
    order = user("Your task is to create a detailed summary of the conversation so far.")
    history = (user("Fix it."), assistant("Done."))
    assert extract(ask(*history, order, tools=SHELL_TOOLS)).step_type is StepType.COMPACTION
    assert extract(ask(order, tools=SHELL_TOOLS)).step_type is StepType.MAIN


def test_forbidden_tools_do_not_hide_a_side_call() -> None:
    request = Request(
        messages=(user("Generate a title for this conversation:\nhello"),),
        tools=SHELL_TOOLS,
        tool_choice=ToolChoice("none"),
    )
    assert extract(request).step_type is StepType.TITLE


def test_a_long_system_prompt_that_mentions_titles_is_not_a_side_call() -> None:
    system = "You are a coding agent. " + "Write good code. " * 800 + "Generate a title."
    assert extract(ask(user("Fix it."), system=system)).step_type is StepType.MAIN


@pytest.mark.parametrize(
    "messages",
    [
        (user("Fix it."), *bash(("ls", "a.py"))),
        (user("Fix it."), *bash(("ls", "a.py")), user("<system-reminder>hi</system-reminder>")),
        (user("Fix it."), *bash(("ls", "a.py")), Message("system", ())),
        (user("Fix it."), assistant("```bash\nls\n```"), user("<returncode>0</returncode>")),
    ],
)
def test_a_result_at_the_end_makes_a_tool_result_step(messages: tuple[Message, ...]) -> None:
    assert extract(ask(*messages, tools=SHELL_TOOLS)).step_type is StepType.TOOL_RESULT


def test_user_text_after_a_result_makes_a_main_turn() -> None:
    messages = (user("Fix it."), *bash(("ls", "a.py")), user("Stop, rename it instead."))
    context = extract(ask(*messages, tools=SHELL_TOOLS))
    assert context.step_type is StepType.MAIN
    assert context.text == "Stop, rename it instead."


def test_the_start_of_an_answer_put_in_by_the_client_is_looked_through() -> None:
    assert extract(ask(user("Go."), result("x"), assistant("{"))).step_type is StepType.TOOL_RESULT
    assert extract(ask(user("Go."), assistant("{"))).step_type is StepType.MAIN
