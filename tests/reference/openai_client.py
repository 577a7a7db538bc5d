# /// script
# requires-python = ">=3.11"
# dependencies = ["openai==3.57.0"]
# ///
"""Asks a running `aki serve` with OpenAI's own client, and checks what comes.

    uv run tests/reference/openai_client.py http://127.0.0.1:8080/v1 KEY MODEL PICTURE.png
    # or: pip install openai==3.57.0; python tests/reference/openai_client.py ...

The server must have a queue of 0 and a high limit of tokens, and the model must go on and on after
"what is it?", as one does that was hardly trained.
"""

import base64
import sys

import openai


def raises(kind, call, **expected):
    """Checks that a call raises an error of a kind, with some of its members."""
    try:
        call()
    except openai.APIStatusError as error:
        assert type(error) is kind, repr(error)
        for name, value in expected.items():
            assert getattr(error, name) == value, (name, getattr(error, name), value)
        return
    raise AssertionError(f"{kind.__name__} was expected")


def main(url, key, model, picture):
    client = openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=60)
    assert [it.id for it in client.models.list()] == [model]
    assert client.models.retrieve(model).owned_by == "aki"

    with open(picture, "rb") as file:
        uri = "data:image/png;base64," + base64.b64encode(file.read()).decode()
    messages = [
        {"role": "system", "content": "Answer the question about the picture."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what is it?"},
                {"type": "image_url", "image_url": {"url": uri, "detail": "auto"}},
            ],
        },
    ]

    def ask(**more):
        request = {"model": model, "messages": messages, "temperature": 0, "max_tokens": 6}
        return client.chat.completions.create(**(request | more))

    whole = ask()
    choice = whole.choices[0]
    assert (choice.message.role, choice.finish_reason) == ("assistant", "length"), whole
    assert whole.usage.completion_tokens == 6, whole
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + 6, whole
    assert whole.model == model and whole.id.startswith("chatcmpl-") and whole.system_fingerprint, whole

    chunks = list(ask(stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == choice.message.content, (text, choice.message.content)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage == whole.usage, chunks[-1]
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"

    stopped = ask(stop=[text[-2:]])
    assert stopped.choices[0].finish_reason == "stop", stopped
    assert stopped.choices[0].message.content == text.split(text[-2:])[0], stopped

    scored = ask(logprobs=True, top_logprobs=3).choices[0].logprobs.content
    assert len(scored) == 6 and all(len(it.top_logprobs) == 3 for it in scored), scored
    assert all(it.logprob == it.top_logprobs[0].logprob <= 0 for it in scored), scored
    assert b"".join(bytes(it.bytes) for it in scored).decode().lstrip() == text

    drawn = [it.message.content for it in ask(n=2, seed=5, temperature=1.5).choices]
    assert drawn == [it.message.content for it in ask(n=2, seed=5, temperature=1.5).choices]

    bad = openai.BadRequestError
    raises(bad, lambda: ask(temperature=3), param="temperature", status_code=400)
    raises(bad, lambda: ask(presence_penalty=1), param="presence_penalty", code="unsupported_parameter")
    raises(bad, lambda: ask(stream=True, response_format={"type": "json_object"}), param="response_format")
    wrong = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]}]
    raises(bad, lambda: ask(messages=wrong), code="invalid_image_url")
    raises(openai.NotFoundError, lambda: ask(model="gpt-4o"), code="model_not_found")
    raises(openai.NotFoundError, lambda: client.models.retrieve("gpt-4o"), status_code=404)
    raises(openai.AuthenticationError, lambda: client.with_options(api_key="no").models.list(), status_code=401)

    # One answer goes on and on, so that there is no room for another; then it is let go.
    endless = ask(stream=True, max_tokens=100_000_000)
    next(iter(endless))
    raises(openai.RateLimitError, ask, code="queue_full")
    endless.close()
    print("all of it is as it should be")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(f"usage: {sys.argv[0]} URL KEY MODEL PICTURE.png")
    main(*sys.argv[1:])
