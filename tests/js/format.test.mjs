import assert from "node:assert/strict";
import { test } from "node:test";

import { counted, exactTime, relativeTime, textSize, timeLeft } from "../../static/js/format.js";

// The borders between units are compared with the server's rule in tests/web/test_javascript.py.
test("relative times read like speech", () => {
  const now = Date.UTC(2026, 10, 22, 14, 32, 5);
  const ago = (seconds) => relativeTime(new Date(now - seconds * 1000), now);
  assert.equal(ago(3), "just now");
  assert.equal(ago(50), "1 min ago");
  assert.equal(ago(-600), "in 10 min");
  assert.equal(ago(21 * 3600), "21 h ago");
  assert.equal(ago(23 * 3600), "1 day ago");
  assert.equal(ago(40 * 86400), "13 Oct 2026");
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

test("exact times show seconds", () => {
  assert.match(exactTime(new Date(2026, 10, 22, 14, 32, 5)), /^22 Nov 2026, 14:32:05$/);
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
