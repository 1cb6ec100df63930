import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { Sha256 } from "../../../transport/browser/trouper.js";
import { seeded } from "./fakes.mjs";

const reference = (data) => createHash("sha256").update(data).digest("hex");

test("the published vectors come out", () => {
  const vectors = [
    ["", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    ["abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
    [
      "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    ],
    ["a".repeat(1_000_000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"],
  ];
  for (const [text, hash] of vectors) assert.equal(new Sha256().text(text).hex(), hash);
});

test("every length around the block's is padded as the standard says", () => {
  for (let length = 0; length <= 200; length += 1) {
    const bytes = Uint8Array.from({ length }, (_, at) => (at * 37) & 0xff);
    assert.equal(new Sha256().update(bytes).hex(), reference(bytes), `${length} bytes`);
  }
});

test("text cut anywhere, also between the halves of a pair, hashes as the whole", () => {
  const random = seeded(1);
  const whole = "grüße, 東京 👋🏽 \u{10ffff}\u0000 plain ".repeat(20);
  for (let round = 0; round < 50; round += 1) {
    const hash = new Sha256();
    for (let at = 0; at < whole.length; ) {
      const next = at + 1 + Math.floor(random() * 9);
      hash.text(whole.slice(at, next));
      at = next;
    }
    assert.equal(hash.hex(), reference(whole));
  }
});

test("a hash can be read and copied on the way without changing it", () => {
  const hash = new Sha256().text("abc\ud83d");
  const copy = hash.clone();
  hash.hex();
  assert.equal(hash.text("\udc4b").hex(), reference("abc👋"));
  assert.equal(copy.text("\udc4c").hex(), reference("abc👌"));
});

test("a half pair that stays alone is hashed as the replacement character", () => {
  assert.equal(new Sha256().text("a\ud83d").hex(), reference("a\ufffd"));
});
