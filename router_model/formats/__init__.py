"""Wire formats: from the body a client sent to one `Request`.

The same conversation gives the same `Request` in every dialect, up to these losses.

Lost in every dialect:
- Unknown fields, and the content of images, audio and files; of inline images the size in pixels
  is kept. Plain text that a document carries
  inline (Anthropic) is kept in the file part; a part of an unknown type without text is a file.
- Message names, stop sequences, penalties, log-probability and storage settings.
- Message borders: neighbours of one role are one message, empty text is dropped, several system
  blocks before the first turn are one text. Where the borders inside that text were is lost.
- Spelling of JSON arguments: whitespace, escapes and number format are normalised; a schema keeps
  its bytes, so its whitespace and key order differ as the clients' do.
- Half an emoji, as clients cut it off, becomes U+FFFD.

What a dialect can't say:
- OpenAI Chat: an error flag on tool results (`is_error` is False); reasoning is unsigned unless a
  compatible server adds its own fields.
- OpenAI Responses: an error flag on function results; `seed` unless a server adds it. Items kept by
  the provider (`previous_response_id`, `conversation`, `item_reference`) are only flagged.
- Anthropic: `seed`, JSON mode without a schema; a schema is always strict.
- Gemini: call ids where the client sends none, the model and streaming (both are in the URL, see
  `parse(path=...)`), parallel calls, strict tools, cache markers and later system messages. A
  schema is always strict, upper-case type names become lower-case, and a result object with the
  single key output, error, result or content becomes its text.

What a dialect says in its own words:
- Two system messages of a chat are joined by an empty line, two blocks of one message by a newline.
- A tool's result is a message of role "tool", before the rest of a user message that held it.
- Effort words are kept, in lower case; budgets become "budget" with `thinking_budget`, 0 and
  "disabled" become "none", -1 and "adaptive" become "adaptive".
- Tools run by the provider keep the provider's type as `kind`; their calls and results inside one
  assistant message are split into assistant and tool messages.
- A role that no dialect documents counts as the user's.
"""

from router_model.formats.detection import detect, format_of_path
from router_model.formats.parsing import parse

__all__ = ["detect", "format_of_path", "parse"]
