"""Bodies in which only one model is the one that may be replaced."""

import json

QUOTED = json.dumps({"role": "user", "content": 'set "model":"auto" in {"model": "auto"}'}).encode()
MESSAGES = b'"messages":[%s]' % QUOTED
# As it is sent, and as the provider has to get it.
TRICKY: dict[str, tuple[bytes, bytes]] = {
    "quoted in an earlier message": (
        b'{%s,"model":"auto"}' % MESSAGES,
        b'{%s,"model":<MODEL>}' % MESSAGES,
    ),
    "of an inner object": (
        b'{"metadata":{"model":"auto"},"tools":[{"model":"auto"}],%s,"model":"auto"}' % MESSAGES,
        b'{"metadata":{"model":"auto"},"tools":[{"model":"auto"}],%s,"model":<MODEL>}' % MESSAGES,
    ),
    "odd spaces, numbers and order": (
        b' {\n "temperature" : 1.0e-1 ,\t"n":1.00, "model" \r\n:  "auto"  , %s , "stop":[ ] }\n'
        % MESSAGES,
        b' {\n "temperature" : 1.0e-1 ,\t"n":1.00, "model" \r\n:  <MODEL>  , %s , "stop":[ ] }\n'
        % MESSAGES,
    ),
    "written with escapes": (
        b'{"mod\\u0065l":"\\u0061uto",%s,"x":"\\u00e9\\ud83d\\ude00\\/"}' % MESSAGES,
        b'{"mod\\u0065l":<MODEL>,%s,"x":"\\u00e9\\ud83d\\ude00\\/"}' % MESSAGES,
    ),
    "said twice": (
        b'{"model":"auto",%s,"model":"auto"}' % MESSAGES,
        b'{"model":<MODEL>,%s,"model":<MODEL>}' % MESSAGES,
    ),
    "said twice, another last": (
        b'{"model":"auto",%s,"model":"gpt-x"}' % MESSAGES,
        b'{"model":"auto",%s,"model":"gpt-x"}' % MESSAGES,
    ),
    "said twice, no string last": (
        b'{"model":"auto",%s,"model":null}' % MESSAGES,
        b'{"model":"auto",%s,"model":null}' % MESSAGES,
    ),
    "another model": (b'{"model":"gpt-x",%s}' % MESSAGES, b'{"model":"gpt-x",%s}' % MESSAGES),
    "quotes and backslashes": (
        b'{"user":"a\\\\\\"}{\\",\\"model\\":\\"auto\\"","model":"auto",%s}' % MESSAGES,
        b'{"user":"a\\\\\\"}{\\",\\"model\\":\\"auto\\"","model":<MODEL>,%s}' % MESSAGES,
    ),
    "the word as a value": (
        b'{"user":"model","x":["model","auto"],"model":"auto",%s}' % MESSAGES,
        b'{"user":"model","x":["model","auto"],"model":<MODEL>,%s}' % MESSAGES,
    ),
    "a byte-order mark": (
        b'\xef\xbb\xbf{"model":"auto",%s}' % MESSAGES,
        b'\xef\xbb\xbf{"model":<MODEL>,%s}' % MESSAGES,
    ),
    "UTF-8": (
        '{"model":"auto","messages":[{"role":"user","content":"Größe 😀"}]}'.encode(),
        '{"model":<MODEL>,"messages":[{"role":"user","content":"Größe 😀"}]}'.encode(),
    ),
    "something behind it": (b'{"model":"auto"} {"a":1}', b'{"model":"auto"} {"a":1}'),
    "an envelope of its own": (
        b'{"request":{%s},"caller":{"tenant":"other"},"model":"gpt-x"}' % MESSAGES,
        b'{"request":{%s},"caller":{"tenant":"other"},"model":"gpt-x"}' % MESSAGES,
    ),
    "cut off": (b'{"model":"auto","messages":[', b'{"model":"auto","messages":['),
}


def long_body(n_bytes: int) -> tuple[bytes, bytes]:
    """A body of about so many bytes, as it is sent and as the provider has to get it."""
    n_turns = n_bytes // 1000
    turns = [
        {"role": role, "content": f'{{"model":"auto"}} \\ "{number}" ' + "words and words " * 28}
        for number in range(n_turns)
        for role in ("user", "assistant")
    ]
    messages = json.dumps([*turns, {"role": "user", "content": "go on"}]).encode()
    return (
        b'{"messages": %s, "model": "auto", "stream": false}' % messages,
        b'{"messages": %s, "model": <MODEL>, "stream": false}' % messages,
    )
