"""Runs commands as a terminal does and tells what each showed: one process for all, as importing takes the most time.

Its argument is a JSON list of {"words": [...], "stdin": "..."}; it prints a JSON list of {"shown", "exit"}, in which
standard output and error are mixed as on a screen.
"""

import json
import os
import sys
import tempfile

from ravatar_audio.cli import main


def run(words: list[str], stdin: str) -> dict[str, object]:
    with tempfile.TemporaryFile() as screen, tempfile.TemporaryFile() as typed:
        typed.write(stdin.encode("latin-1"))
        typed.seek(0)
        kept = [os.dup(number) for number in range(3)]
        for number, file in enumerate((typed, screen, screen)):
            os.dup2(file.fileno(), number)
        code: object = 0
        try:
            main(words)
        except SystemExit as leaving:
            code = leaving.code
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, saved in enumerate(kept):
                os.dup2(saved, number)
                os.close(saved)
        screen.seek(0)
        return {"shown": screen.read().decode(), "exit": code}


if __name__ == "__main__":
    print(json.dumps([run(item["words"], item.get("stdin", "")) for item in json.loads(sys.argv[1])]))
