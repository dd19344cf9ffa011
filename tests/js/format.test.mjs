import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { counted, exactTime, relativeTime, textSize, timeLeft } from "../../static/js/format.js";

const CASES = JSON.parse(readFileSync(new URL("../data/formats.json", import.meta.url)));

// The borders between units are compared with the server's rule in tests/web/test_javascript.py.
test("relative times are those of the server", () => {
  process.env.TZ = "UTC";
  const now = Date.UTC(2026, 10, 22, 14, 32, 5);
  for (const [seconds, words] of CASES.relative_time) {
    assert.equal(relativeTime(new Date(now - seconds * 1000), now), words);
  }
});

test("exact times are those of the server", () => {
  for (const [moment, zone, words] of CASES.exact_time) {
    process.env.TZ = zone;
    assert.equal(exactTime(new Date(moment)), words);
  }
});

test("numbers of things have the separators of the server", () => {
  for (const [value, words] of CASES.number.filter(([number]) => number)) {
    assert.equal(counted(value, "token"), `${words} tokens`);
  }
});

test("a time that is left is exact near its end", () => {
  for (const [seconds, words] of [
    [86_400, "24 h 0 min"],
    [3660, "1 h 1 min"],
    [3599.2, "1 h 0 min"],
    [61, "1 min 1 s"],
    [0.4, "1 s"],
    [0, "0 s"],
    [-5, "0 s"],
  ]) {
    assert.equal(timeLeft(seconds * 1000), words);
  }
});

test("numbers of things", () => {
  assert.equal(counted(1, "token"), "1 token");
  assert.equal(counted(0, "token"), "0 tokens");
  assert.equal(counted(1200, "token"), "1,200 tokens");
});

test("characters are code points, tokens are bytes / 4", () => {
  assert.equal(textSize(""), "0 characters, about 0 tokens");
  assert.equal(textSize("abcd"), "4 characters, about 1 token");
  assert.equal(textSize("abcde"), "5 characters, about 2 tokens");
  assert.equal(textSize("🦊"), "1 character, about 1 token");
  assert.equal(textSize("é".repeat(4)), "4 characters, about 2 tokens");
});
