"""``python -m benchmarks SUITE``: runs a suite and prints its table."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import machine, measuring, profiling, report, suites

ROUNDS, QUICK_ROUNDS = 9, 2
QUICK_SCALE = 0.02


def progress_line() -> Callable[[str], None]:
    """Shows what is under way: in place on a terminal, else a line for each thing once."""
    if not sys.stderr.isatty():
        seen: set[str] = set()

        def say(text: str) -> None:
            name = text.partition(":")[0]
            if name not in seen:
                seen.add(name)
                print(f"… {name}", file=sys.stderr, flush=True)

        return say
    return lambda text: print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _rounds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: legal are whole numbers from 1")
    return int(text)


def _new_file(text: str) -> Path:
    """Looked at before anything is measured: who waited for minutes would get a traceback for it."""
    path = Path(text)
    if not path.parent.is_dir() or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: legal is a file in a folder that exists")
    return path


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, next to others.")
    parser.add_argument("suite", choices=sorted(suites.SUITES))
    parser.add_argument("--quick", action="store_true", help="small and few rounds: shows that it runs")
    parser.add_argument(
        "--rounds", type=_rounds, default=None, help=f"of each measure; {ROUNDS} unless --quick"
    )
    parser.add_argument("--only", metavar="TEXT", help="only the measures whose name begins so")
    parser.add_argument("--json", type=_new_file, metavar="FILE", help="write all rounds there")
    parser.add_argument("--profile", type=_new_file, metavar="FILE", help="write where our time goes there")
    options = parser.parse_args()
    options.loaded = suites.load(options.suite)
    options.measures = [each for each in options.loaded.measures if each.name.startswith(options.only or "")]
    if not options.measures:
        names = ", ".join(each.name for each in options.loaded.measures)
        parser.error(f"no measure begins with {options.only!r}; there are: {names}")
    return options


def main() -> int:
    """Run what was asked for."""
    options = parse()
    suite = options.loaded
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    scale = QUICK_SCALE if options.quick else 1.0
    if not options.quick and (trouble := suite.prepare()) is not None:
        print(trouble, file=sys.stderr)
    facts = machine.facts(suite.peers, pinned=machine.pin_to_one_core())
    facts["versions"] |= suite.other_versions()
    say = progress_line()
    results = [measuring.run_measure(measure, rounds, scale, say) for measure in options.measures]
    say("")
    print(report.table(results))
    if options.json is not None:
        content = report.as_json(suite, results, machine=facts, quick=options.quick)
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if options.profile is not None:
        profiling.write_profile(suite, scale / 4, options.profile)
    return 0


if __name__ == "__main__":
    sys.exit(main())
