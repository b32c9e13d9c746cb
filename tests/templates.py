#!/usr/bin/env python3
"""Renders chat templates with assay and with Python's jinja2 and compares the texts.

    tests/templates.py DIR [--binary build/release/assay-template] [--json]

Every *.jinja file of DIR is rendered with seven conversations. jinja2 is configured as Hugging Face
transformers configures it for chat templates. Equal texts count as equal, and so do two refusals.
Then each is rendered by assay with all letters of the messages in a script of their own, to see that
assay knows of every character whether a message or the template wrote it.
The last line is "N of M equal"; the exit code is 1 below 95 %, or where an origin is wrong. Needs
jinja2 from PyPI.
"""
import argparse
import datetime
import difflib
import json
import pathlib
import subprocess
import sys

DATE = "2024-07-26 13:05:00"
WANTED = 0.95


def environment():
    """jinja2 as transformers' chat templates get it: `generation` tags, tojson, two functions."""
    try:
        import jinja2
        import jinja2.ext
        import jinja2.nodes
        import jinja2.sandbox
    except ImportError:
        sys.exit("tests/templates.py needs the PyPI package jinja2 (pip install jinja2)")

    class Generation(jinja2.ext.Extension):
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            call = self.call_method("_body")
            return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

        def _body(self, caller):
            return caller()

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)

    def strftime_now(text):
        return datetime.datetime.strptime(DATE, "%Y-%m-%d %H:%M:%S").strftime(text)

    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = strftime_now
    return made


def weather_tool():
    return {"type": "function", "function": {
        "name": "get_weather",
        "description": "The weather of a place, \"now\" & later: <°C>",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "A town"},
                "unit": {"type": "string", "enum": ["celsius", "kelvin"]},
                "days": {"type": "array", "items": {"type": "integer", "minimum": -2**63 - 1,
                                                   "maximum": 2**64 - 1}}},
            "required": ["place"]},
        "return": {"type": "object", "properties": {"value": {"type": "number"}}}}}


def clock_tool():
    return {"type": "function", "function": {
        "name": "get_time", "description": "The time",
        "parameters": {"type": "object", "properties": {}}}}


def call(identity, place):
    return {"id": identity, "type": "function", "function": {
        "name": "get_weather", "arguments": {"place": place, "days": [1, 2], "exact": True}}}


def conversations():
    """Name → what the template sees besides the tokens."""
    system = {"role": "system", "content": "You are brief.\nAnswer in one line."}
    user = {"role": "user", "content": " What's the weather in Zürich – 今日? <b>\"now\"</b> \n"}
    result = {"role": "tool", "tool_call_id": "call00001", "name": "get_weather",
              "content": "{\"celsius\": 21.5}"}
    return {
        "system": {"messages": [system, user], "add_generation_prompt": True},
        "tools": {"messages": [system, user], "tools": [weather_tool(), clock_tool()],
                  "add_generation_prompt": True},
        "calls": {
            "messages": [user,
                         {"role": "assistant", "content": "", "tool_calls": [call("call00001", "Zürich")]},
                         result,
                         {"role": "assistant", "content": "It is 21.5 °C."},
                         {"role": "user", "content": "Thanks."}],
            "tools": [weather_tool()], "add_generation_prompt": True},
        "turns": {
            "messages": [system, {"role": "user", "content": "Hello"},
                         {"role": "assistant", "content": "<think>\nEasy.\n</think>\n\nHi!"},
                         {"role": "user", "content": "How are you?"},
                         {"role": "assistant", "content": "Well.\n"}],
            "add_generation_prompt": False, "enable_thinking": False},
        "spelled": {
            "messages": [{"role": "system", "content": "<|im_start|>\n\n</s>"},
                         {"role": "user", "content": "<|im_end|>\n<think>\nwhy\n</think>\n\n[INST]<end_of_turn>"},
                         {"role": "assistant", "content": "<think>\nso\n</think>\n\n<|im_end|>\n"},
                         {"role": "user", "content": "\n</think>\n<|eot_id|>\n\n</tool_call>"}],
            "add_generation_prompt": True},
        "thoughts": {
            "messages": [{"role": "user", "content": "Hello"},
                         {"role": "assistant", "content": "Hi!", "thinking": "Easy.", "reasoning": "Easy.",
                          "reasoning_content": "Easy."},
                         {"role": "user", "content": "How are you?"},
                         {"role": "assistant", "content": " Well.\n"},
                         {"role": "user", "content": "And I?"}],
            "add_generation_prompt": True, "enable_thinking": True, "thinking": True},
        "none": {"messages": [], "add_generation_prompt": True},
    }


OTHER_SCRIPT = 0x1400  # Canadian syllabics: printable, without upper case


def rewritten(value):
    """The strings of a conversation, but for roles and types, with every letter in another script."""
    if isinstance(value, str):
        return "".join(chr(OTHER_SCRIPT + ord(c)) if c.isascii() and c.isalnum() else c for c in value)
    if isinstance(value, list):
        return [rewritten(each) for each in value]
    if isinstance(value, dict):
        return {key: each if key in ("role", "type") else rewritten(each) for key, each in value.items()}
    return value


def wrong_origins(answer):
    """Characters of a message that are not known as such."""
    if "error" in answer:
        return []
    data = answer["text"].encode()
    outside, last = "", 0
    for begin, end in answer["quoted"]:
        outside += data[last:begin].decode()
        last = end
    outside += data[last:].decode()
    return [f"not known as quoted: {c!r}" for c in outside
            if OTHER_SCRIPT <= ord(c) < OTHER_SCRIPT + 128][:5]


def variables(conversation):
    made = {"tools": None, "documents": None, "bos_token": "<s>", "eos_token": "</s>"}
    made.update(conversation)
    return made


def ours(binary, requests):
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run([binary], input=lines, capture_output=True, text=True, encoding="utf-8",
                          check=True)
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def theirs(env, source, names):
    try:
        return {"text": env.from_string(source).render(**names)}
    except Exception as error:  # a template may make Python raise anything
        return {"error": f"{type(error).__name__}: {error}"}


def difference(mine, other):
    if "error" in mine or "error" in other:
        return [f"assay:  {mine.get('error', 'renders')}", f"jinja2: {other.get('error', 'renders')}"]
    return list(difflib.unified_diff(other["text"].splitlines(), mine["text"].splitlines(),
                                     "jinja2", "assay", lineterm="", n=1))[:20]


def compare(folder, binary):
    env = environment()
    cases = []
    for path in sorted(pathlib.Path(folder).glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        for name, conversation in conversations().items():
            cases.append((path.name, name, source, variables(conversation)))
    answers = ours(binary, [{"template": source, "date": DATE, **names}
                            for _, _, source, names in cases])
    if len(answers) != len(cases):
        sys.exit(f"{binary} gave {len(answers)} answers to {len(cases)} requests")
    own = {"enable_thinking", "thinking", "add_generation_prompt"}
    origins = ours(binary, [{"template": source, "date": DATE, "quoted": True, **{
        key: value if key in own or key.endswith("_token") else rewritten(value)
        for key, value in names.items()}} for _, _, source, names in cases])
    rows = []
    for (file, name, source, names), mine, marked in zip(cases, answers, origins):
        other = theirs(env, source, names)
        equal = mine == other or ("error" in mine and "error" in other)
        rows.append({"template": file, "conversation": name, "equal": equal,
                     "refused": "error" in other, "wrong_origins": wrong_origins(marked),
                     "difference": [] if equal else difference(mine, other)})
    return rows


def show(rows):
    names = list(conversations())
    width = max(len(row["template"]) for row in rows)
    print("template".ljust(width), *names)
    for file in dict.fromkeys(row["template"] for row in rows):
        marks = {row["conversation"]: "refused" if row["refused"] and row["equal"]
                 else "equal" if row["equal"] else "MISS" for row in rows if row["template"] == file}
        print(file.ljust(width), *(marks[name].ljust(len(name)) for name in names))
    for row in rows:
        for wrong in row["wrong_origins"]:
            print(f"{row['template']}, {row['conversation']}: {wrong}")
        if not row["equal"]:
            print(f"\n{row['template']}, {row['conversation']}:")
            print("\n".join("    " + line for line in row["difference"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dir", help="the folder with the *.jinja files")
    parser.add_argument("--binary", default="build/release/assay-template")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    options = parser.parse_args()
    rows = compare(options.dir, options.binary)
    if not rows:
        sys.exit(f"{options.dir} has no *.jinja files")
    if options.json:
        print(json.dumps(rows, ensure_ascii=False, indent=1))
    else:
        show(rows)
    equal = sum(row["equal"] for row in rows)
    print(f"{equal} of {len(rows)} equal", file=sys.stderr if options.json else sys.stdout)
    wrong = sum(bool(row["wrong_origins"]) for row in rows)
    sys.exit(equal < WANTED * len(rows) or wrong > 0)


if __name__ == "__main__":
    main()
