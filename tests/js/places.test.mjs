import assert from "node:assert/strict";
import { test } from "node:test";

import { MOST_HITS, changedLines, foundText, hitsOf, nextHit, placeOf } from "../../static/js/places.js";

test("a search ignores case and takes its words as they are", () => {
  assert.deepEqual(hitsOf("Light, light (a.b) [x]", "light"), [[0, 5], [7, 12]]);
  assert.deepEqual(hitsOf("axb a.b", "a.b"), [[4, 7]]);
  assert.deepEqual(hitsOf("a-b (a|b) \\d /", "(a|b) \\d /"), [[4, 14]]);
  assert.deepEqual(hitsOf("İ ثعلب 狐狸 ثعلب", "ثعلب").length, 2);
  assert.deepEqual(hitsOf("text", ""), []);
  assert.equal(hitsOf("a".repeat(2 * MOST_HITS), "a").length, MOST_HITS);
});

test("a search begins at the caret and starts again", () => {
  assert.equal(nextHit([[0, 1], [5, 6]], 2), 1);
  assert.equal(nextHit([[0, 1], [5, 6]], 7), 0);
  assert.equal(nextHit([], 0), -1);
  assert.equal(foundText("fox", 12, 2), "3 of 12");
  assert.equal(foundText("fox", 0, -1), "No results");
  assert.equal(foundText("", 0, -1), "");
  assert.equal(foundText("a", MOST_HITS, 0), "1 of 1000+");
});

test("only lines that differ are changed", () => {
  assert.deepEqual(changedLines(["a", "b", "c"], ["a", "x", "y", "c"]), { from: 1, removed: 1, added: ["x", "y"] });
  assert.deepEqual(changedLines(["a", "a"], ["a", "a", "a"]), { from: 2, removed: 0, added: ["a"] });
  assert.deepEqual(changedLines([], ["a"]), { from: 0, removed: 0, added: ["a"] });
  assert.deepEqual(changedLines(["a", "b"], ["a", "b"]), { from: 2, removed: 0, added: [] });
  assert.deepEqual(changedLines(["a", "b", "a"], ["a"]), { from: 1, removed: 2, added: [] });
});

test("a problem names a place, in characters", () => {
  const text = "One.\n🦊 a {{ fox }} b\n{{ open";
  assert.deepEqual(placeOf(text, "Line 2, column 5: {{ fox }} is not declared."), [10, 19]);
  assert.equal(text.slice(10, 19), "{{ fox }}");
  assert.deepEqual(placeOf(text, "User template: Line 3, column 1: {{ is never closed."), [22, 24]);
  assert.equal(placeOf(text, "The prompt is blank."), null);
  assert.equal(placeOf(text, "Line 9, column 1: gone."), null);
});
