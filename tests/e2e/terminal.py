"""Runs a command on a pseudo-terminal and types answers: terminal.py PROMPT=ANSWER... -- COMMAND...
Prints what the terminal shows; exits with the command's code."""
import os
import pty
import select
import sys

split = sys.argv.index("--")
answers = [pair.split("=", 1) for pair in sys.argv[1:split]]
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[split + 1], sys.argv[split + 1:])
seen = b""
shown = 0
while True:
    ready, _, _ = select.select([fd], [], [], 60)
    if not ready:
        os.kill(pid, 9)
        break
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    seen += data
    if answers and answers[0][0].encode() in seen[shown:]:
        shown = len(seen)
        os.write(fd, answers.pop(0)[1].encode() + b"\n")
_, status = os.waitpid(pid, 0)
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(status) % 256)
