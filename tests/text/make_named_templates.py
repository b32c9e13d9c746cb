#!/usr/bin/env python3
"""Writes tests/data/named_templates.json: what llama.cpp makes of conversations by templates' names.

    tests/text/make_named_templates.py LIBLLAMA.SO NAME …

LIBLLAMA.SO is llama.cpp's library (llama-cpp-python has one); the names are those of
src/text/named_templates.cpp. The test NamedTemplates compares.
"""
import ctypes
import json
import pathlib
import sys

SYSTEM = {"role": "system", "content": " Be brief. "}
CONVERSATIONS = [
    [{"role": "user", "content": "Hi"}],
    [SYSTEM, {"role": "user", "content": " two\n lines \n"}],
    [SYSTEM, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": " Hello. "},
     {"role": "user", "content": "Zürich? 今日"}],
    [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}],
]


class Message(ctypes.Structure):
    _fields_ = [("role", ctypes.c_char_p), ("content", ctypes.c_char_p)]


def apply(library, name, messages, ask):
    chat = (Message * len(messages))(*((m["role"].encode(), m["content"].encode()) for m in messages))
    text = ctypes.create_string_buffer(10000)
    size = library.llama_chat_apply_template(name.encode(), chat, len(messages), ask, text, len(text))
    if not 0 <= size < len(text):
        sys.exit(f"llama.cpp gives no text for the template '{name}'")
    return text.raw[:size].decode()


def main():
    library = ctypes.CDLL(sys.argv[1])
    library.llama_chat_apply_template.argtypes = [
        ctypes.c_char_p, ctypes.POINTER(Message), ctypes.c_size_t, ctypes.c_bool, ctypes.c_char_p,
        ctypes.c_int32]
    cases = [{"name": name, "messages": messages, "add_generation_prompt": ask,
              "text": apply(library, name, messages, ask)}
             for name in sys.argv[2:] for messages in CONVERSATIONS
             for ask in (messages[-1]["role"] == "user",)]
    path = pathlib.Path(__file__).parents[1] / "data" / "named_templates.json"
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    path.write_text(f"[{lines}]\n")


if __name__ == "__main__":
    main()
