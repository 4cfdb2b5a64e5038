"""The last turn of a session, and what Claude still knows."""

import json
import os
import time

import pytest
from memory_hooks import transcript
from memory_hooks.transcript import read_recent_text, read_turn


def user(content, **fields) -> str:
    return json.dumps({"type": "user", "message": {"role": "user", "content": content}} | fields)


def assistant(*texts: str, **fields) -> str:
    content = [{"type": "text", "text": text} for text in texts]
    return json.dumps({"type": "assistant", "message": {"role": "assistant", "content": content}} | fields)


TOOL_USE = json.dumps(
    {"type": "assistant", "message": {"content": [{"type": "tool_use", "name": "Read", "input": {"text": "input"}}]}}
)
THOUGHT = json.dumps({"type": "assistant", "message": {"content": [{"type": "thinking", "thinking": "hm"}]}})
RESULT = user([{"type": "tool_result", "content": "a file"}, {"type": "text", "text": "of the tool"}])
TRANSCRIPTS = {
    "plain": ([user("When?"), assistant("At nine.")], ("When?", "At nine.")),
    "blocks": ([user([{"type": "text", "text": "When?"}]), assistant("At", "nine.")], ("When?", "At\nnine.")),
    "tools": (
        [user("Old."), assistant("Old."), user("When?"), assistant("I look."), TOOL_USE, RESULT, THOUGHT,
         assistant("Nine.")],
        ("When?", "Nine."),
    ),
    "other-users": (
        [user("When?"), user("meta", isMeta=True), user("side", isSidechain=True), user("sum", isCompactSummary=True),
         user("[Request interrupted by user]"), user("<local-command-stdout>x</local-command-stdout>"),
         assistant("No.", isSidechain=True), assistant("Nine.")],
        ("When?", "Nine."),
    ),
    "command": (
        [user("<command-message>recall</command-message>\n<command-name>/recall</command-name>\n"
              "<command-args>harbour</command-args>"), user("expanded", isMeta=True), assistant("Nine.")],
        ("/recall harbour", "Nine."),
    ),
    "half-a-line": (
        [user("Wann? 🚢"), assistant("Um neun. é"), '{"type":"user","message":{"role":"us'], ("Wann? 🚢", "Um neun. é"),
    ),
    "odd-lines": (
        ["", "[]", '"user"', '{"type":"user"}', user("When?"), assistant("Nine."), "null"], ("When?", "Nine."),
    ),
    "by-prompt-id": (
        [user("When?", promptId="p"), assistant("Nine."), user("Next?", promptId="q")], ("When?", "Nine."),
    ),
}  # fmt: skip


@pytest.mark.parametrize("chunk", [7, 256 * 1024])
@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_last_turn_is_read(name, chunk, tmp_path, monkeypatch):
    lines, turn = TRANSCRIPTS[name]
    path = tmp_path / "transcript.jsonl"
    path.write_text("\n".join(lines) + ("" if name == "half-a-line" else "\n"))
    monkeypatch.setattr(transcript, "CHUNK_BYTES", chunk)
    assert read_turn(str(path), "p" if name == "by-prompt-id" else None, "") == turn


def test_huge_transcript_is_read_from_its_end(tmp_path, monkeypatch):
    path = tmp_path / "transcript.jsonl"
    with path.open("w") as file:
        file.write(user("first") + "\n" + "x" * 30_000_000 + "\n" + user("When?") + "\n")
        file.write(user([{"type": "tool_result", "content": "y" * 1_000_000}]) + "\n" + assistant("Nine.") + "\n")
    read = []
    monkeypatch.setattr(transcript.json, "loads", lambda text, real=json.loads: read.append(len(text)) or real(text))
    assert read_turn(str(path), None, "") == ("When?", "Nine.")
    assert sum(read) < 2_000_000
    assert read_turn(str(path), "p", "Given.").answer == "Given."


def test_transcript_without_a_prompt_has_no_turn(tmp_path):
    (tmp_path / "empty").write_text("")
    assert read_turn(str(tmp_path / "empty"), None, "Nine.") is None


def test_text_since_the_session_was_compacted_is_known(tmp_path):
    path = tmp_path / "transcript.jsonl"
    path.write_text(user("forgotten") + "\n" + '{"isCompactSummary":true, "a": "summary"}\n' + user("known") + "\n")
    text = read_recent_text(str(path))
    assert "known" in text
    assert "forgotten" not in text
    assert "summary" not in text


def test_transcript_of_a_million_lines_is_read_in_an_instant(tmp_path):
    path = tmp_path / "transcript.jsonl"
    path.write_bytes(b"\n" * 3_000_000)
    began = time.thread_time()
    assert read_recent_text(str(path)) == "\n" * transcript.MAX_RECENT_BYTES
    assert time.thread_time() - began < 0.5


@pytest.mark.parametrize("kind", ["none", "folder", "pipe", "device", "loop", "nul"])
def test_what_is_no_file_is_not_waited_for(kind, tmp_path):
    path = tmp_path / "transcript"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    odd = {"folder": str(tmp_path), "device": "/dev/zero", "nul": "a\0b"}.get(kind, str(path))
    assert read_recent_text(odd) == ""
    with pytest.raises((OSError, ValueError)):
        read_turn(odd, None, "")


def test_sparse_transcript_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(transcript, "MAX_TRANSCRIPT_BYTES", 8 * transcript.CHUNK_BYTES)
    path = tmp_path / "transcript.jsonl"
    path.touch()
    os.truncate(path, 2**40)
    assert read_turn(str(path), None, "") is None
    assert len(read_recent_text(str(path))) == transcript.MAX_RECENT_BYTES


def test_prompt_that_is_not_there_is_not_looked_for_in_the_whole_transcript(tmp_path):
    path = tmp_path / "transcript.jsonl"
    path.write_text("".join(user(f"Q{number}", promptId="other") + "\n" for number in range(200_000)))
    began = time.thread_time()
    assert read_turn(str(path), "p", "Nine.") == ("Q199999", "Nine.")
    assert time.thread_time() - began < 0.5
