"""Writes conversations as `transformers` renders them, for aki-data's chat templates.

    pip install transformers==4.57.3 sentencepiece==0.2.1 protobuf jinja2==3.1.6
    python tests/reference/chat_template.py aki-data/tests/fixtures/tokenizers

Needs the folder `aki` that slow_llama.py makes there. The templates are our own, each in the manner of
a family of checkpoints. Read by aki-data/tests/chat.rs.
"""

import json
import sys
from pathlib import Path

import jinja2
import transformers
from transformers import LlamaTokenizer

assert transformers.__version__ == "4.57.3", transformers.__version__
assert jinja2.__version__ == "3.1.6", jinja2.__version__

TEMPLATES = {
    # Phi: a tag before and after each message.
    "tags": """{% for message in messages %}
    {% if message['role'] in ['system', 'user'] and message['content'] %}
{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}
    {%- elif message.role == 'assistant' %}
{{ '<|assistant|>\n' }}{{ message.content }}{{ '<|end|>\n' }}
    {%- endif %}
{% endfor %}
{% if add_generation_prompt %}
{{ '<|assistant|>\n' }}
{%- else %}
{{ eos_token }}
{%- endif %}""",
    # Llama 2: the system line within the first question, text trimmed, roles checked.
    "brackets": """{%- if messages[0]['role'] == 'system' -%}
{%- set rest = messages[1:] -%}{%- set system = '<<SYS>>\n' ~ messages[0].content | trim ~ '\n<</SYS>>\n\n' -%}
{%- else -%}{%- set rest = messages -%}{%- set system = '' -%}{%- endif -%}
{%- for message in rest -%}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
{{- raise_exception('roles must alternate') -}}
{%- endif -%}
{%- if loop.first %}{% set content = system + message['content'] %}{% else %}{% set content = message['content'] %}{% endif -%}
{%- if message['role'] == 'user' -%}
{{- bos_token + '[INST] ' + content.strip() + ' [/INST]' -}}
{%- else -%}
{{- ' ' + content.strip() + ' ' + eos_token -}}
{%- endif -%}
{%- endfor -%}""",
    # ChatML with a default system line, a namespace, and a macro.
    "chatml": """{%- macro turn(role, content) -%}
{{ '[im_start]' ~ role ~ '\n' ~ content ~ '[im_end]\n' }}
{%- endmacro -%}
{%- set ns = namespace(asked=0) -%}
{%- if messages[0].role != 'system' %}{{ turn('system', 'You are helpful.') }}
{% endif %}
{%- for message in messages %}
{%- if message.role == 'user' %}{%- set ns.asked = ns.asked + 1 %}{% endif %}
{%- set content = message.content.split('</think>')[-1].lstrip('\n') if message.role == 'assistant' else message.content %}
{{- turn(message.role, content) }}
{% endfor %}
{%- if tools is defined and tools %}{{ tools | tojson }}{% endif %}
{%- if add_generation_prompt %}{{ '[im_start]assistant\n' }}{% endif %}{{ ns.asked }}""",
}

CONVERSATIONS = [
    [("user", "what color is the circle?")],
    [("system", " Be brief. "), ("user", "  what color?\n"), ("assistant", "\nblue "), ("user", "and the <square>?")],
    [("user", "a"), ("assistant", "<think>b</think>\n\nc"), ("user", "d"), ("assistant", "e"), ("user", "f")],
    [("assistant", "who asked?"), ("user", "me")],
    [("user", "")],
]


def main(root: Path) -> None:
    tokenizer = LlamaTokenizer.from_pretrained(root / "aki")
    cases = []
    for name, template in TEMPLATES.items():
        for conversation in CONVERSATIONS:
            messages = [{"role": role, "content": content} for role, content in conversation]
            case = {"template": name, "messages": conversation, "ids": None}
            try:
                text = tokenizer.apply_chat_template(
                    messages, chat_template=template, add_generation_prompt=True, tokenize=False
                )
                case["ids"] = tokenizer.encode(text, add_special_tokens=False)
                case["text"] = text
            except jinja2.exceptions.TemplateError as error:
                case["error"] = str(error)
            cases.append(case)
    (root / "chat.json").write_text(json.dumps({"templates": TEMPLATES, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
