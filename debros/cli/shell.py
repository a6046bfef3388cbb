"""`debros shell`: Python with `await`, with the project's models and an open node."""

from __future__ import annotations

import ast
import builtins
import code
import inspect
import sys
import traceback
from types import CodeType
from typing import Any, Final

import trio

from debros.cli.exits import Exit
from debros.cli.options import HomePath, Json
from debros.cli.project import Project
from debros.cli.screen import Screen
from debros.errors import DebrosError

AWAITING: Final = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


async def command(*, command: str = "", home: HomePath = None, json: Json = False) -> Exit:
    """Open a database and talk to it in Python: `await Post.count()`. What is typed into a pipe runs as well.

    `db` is the node, and every model stands under its name.

    Args:
        command: Run this, and end.
        home: The database; by default the project's.
        json: Print one JSON object with what the last expression gave.
    """
    import debros

    screen, project = Screen(json), Project.here()
    async with project.open(project.home(home)) as node:
        names: dict[str, Any] = {cls.__name__: cls for cls in project.models()}
        names |= {"db": node, "debros": debros, "trio": trio, "__name__": "__console__"}
        console = _Console(names, quiet=json)
        if command:
            await console.run(command)
        elif not sys.stdin.isatty():
            await console.run(sys.stdin.read())
        else:
            screen.say("debros", f"{', '.join(cls.__name__ for cls in project.models())}; db is the node; await works")
            await console.talk()
    screen.result({"ok": console.failure == "", "error": console.failure, "value": repr(console.last)})
    return Exit.FAILED if console.failure and (command or not sys.stdin.isatty()) else Exit.DONE


class _Console(code.InteractiveConsole):
    """Reads in a thread, runs in the loop that the node lives in."""

    def __init__(self, names: dict[str, Any], *, quiet: bool) -> None:
        super().__init__(names)
        self.compile.compiler.flags |= AWAITING
        self._quiet = quiet
        self.failure = ""
        self.last: Any = None

    async def talk(self) -> None:
        """Read statements until the end of the input."""
        try:
            import readline  # noqa: F401 - history and editing where the system has them
        except ImportError:
            sys.stderr.write("no line editing here: Python was built without readline\n")
        lines: list[str] = []
        while True:
            try:
                lines.append(await trio.to_thread.run_sync(input, "... " if lines else ">>> "))
            except EOFError:
                print()
                return
            except KeyboardInterrupt:
                print("\nKeyboardInterrupt")
                lines = []
                continue
            source = "\n".join(lines)
            try:
                compiled = self.compile(source, "<shell>", "single")
            except (SyntaxError, ValueError, OverflowError):
                self._tell()
                lines = []
                continue
            if compiled is not None:
                lines = []
                await self._evaluate(compiled)

    async def run(self, source: str) -> None:
        """Run a whole program; the value of a last expression is printed."""
        try:
            tree = ast.parse(source, "<shell>")
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            await self._evaluate(compile(tree, "<shell>", "exec", flags=AWAITING))
            if isinstance(last, ast.Expr) and not self.failure:
                value = eval(compile(ast.Expression(last.value), "<shell>", "eval", flags=AWAITING), self.locals)  # noqa: S307 - a shell runs what its user types  # fmt: skip
                self.last = await value if inspect.isawaitable(value) else value
                if self.last is not None and not self._quiet:
                    print(repr(self.last))
        except SyntaxError:
            self._tell()
        except Exception:  # whatever the program raises is told, as Python's own shell does
            self._tell()

    async def _evaluate(self, compiled: CodeType) -> None:
        try:
            value = eval(compiled, self.locals)  # noqa: S307 - as above
            if inspect.isawaitable(value):
                await value
            self.last = getattr(builtins, "_", None)
        except SystemExit:
            raise
        except Exception:  # as above
            self._tell()

    def _tell(self) -> None:
        error = sys.exc_info()[1]
        self.failure = f"{type(error).__name__}: {error}"
        if self._quiet:
            return
        if isinstance(error, DebrosError):
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        else:
            sys.stderr.write("".join(traceback.format_exception(error, limit=-3)))
