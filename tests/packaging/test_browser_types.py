"""TypeScript takes the browser client by its JSDoc, and React its store as it is.

Installing the compiler needs a package index, as npm is set up to find it; hence ``network``.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.meta.source import ROOT

pytestmark = [pytest.mark.network, pytest.mark.slow]

CLIENT = ROOT / "transport" / "browser" / "trouper.js"
COMPILER = ("typescript@7.0.2", "@types/react@19")
NPM = shutil.which("npm")

USE = """
import { useSyncExternalStore } from "react";
import { connect, type Snapshot } from "./trouper.js";

const client = connect({ coalesceMs: 100 });

export function useTrouper(): Snapshot {
  return useSyncExternalStore(client.subscribe, client.getSnapshot);
}

export async function read(): Promise<string> {
  const { job } = await client.submit({ job: "echo", arguments: { text: "hi" } });
  let text = "";
  for await (const item of client.output(job.id)) {
    if (item.type === "text") text += item.text;
    if (item.type === "rewind") text = text.slice(0, item.length);
  }
  return text;
}
"""
WRONG = """
import { connect } from "./trouper.js";
connect({ coalesceMs: "often" });
"""


def compile_with(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    (folder / "use.ts").write_text(source, encoding="utf-8")
    options = (
        "--noEmit --strict --allowJs --checkJs --target es2022 --module esnext --moduleResolution bundler"
    )
    lib = ["--lib", "es2022,dom,dom.iterable"]
    command = [str(folder / "node_modules" / ".bin" / "tsc"), *options.split(), *lib, "use.ts", "trouper.js"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.skipif(NPM is None, reason="no npm here: install nodejs with npm to check the client's types")
def test_typescript_accepts_the_client_and_its_use_in_react(tmp_path: Path) -> None:
    assert NPM is not None
    shutil.copy(CLIENT, tmp_path / "trouper.js")
    install = [NPM, "install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", *COMPILER]
    subprocess.run(install, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    taken = compile_with(tmp_path, USE)
    assert taken.returncode == 0, taken.stdout
    refused = compile_with(tmp_path, WRONG)
    assert "use.ts" in refused.stdout, "what is wrong is found, so what was taken was looked at"
