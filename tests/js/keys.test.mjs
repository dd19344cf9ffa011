import assert from "node:assert/strict";
import { test } from "node:test";

import { Sequence, itemStep, keysIn, listIndex, nameOf, rank, rowIndex } from "../../static/js/keys.js";

test("a declaration has one key or several", () => {
  assert.deepEqual(keysIn("r|Ctrl Enter"), ["r", "Ctrl Enter"]);
  assert.deepEqual(keysIn("g p"), ["g p"]);
  assert.deepEqual(keysIn(""), []);
});

test("names of keys, with and without caps lock, never with other modifiers", () => {
  assert.equal(nameOf({ key: "r" }), "r");
  assert.equal(nameOf({ key: "R" }), "r");
  assert.equal(nameOf({ key: "R", shiftKey: true }), "");
  assert.equal(nameOf({ key: "r", altKey: true }), "");
  assert.equal(nameOf({ key: "?", shiftKey: true }), "?");
  assert.equal(nameOf({ key: "[" }), "[");
  assert.equal(nameOf({ key: "ArrowLeft" }), "ArrowLeft");
  assert.equal(nameOf({ key: "Enter", ctrlKey: true }), "Ctrl Enter");
  assert.equal(nameOf({ key: "K", metaKey: true }), "Ctrl k");
  assert.equal(nameOf({ key: "Enter", ctrlKey: true, shiftKey: true }), "");
});

test("two keys in a row count for 1.2 seconds", () => {
  const sequence = new Sequence();
  sequence.begin("g", 1000);
  assert.equal(sequence.with("p", 2199), "g p");
  assert.equal(sequence.with("p", 2200), null);
});

test("after a sequence that meant something the next key begins another", () => {
  const sequence = new Sequence();
  sequence.begin("g", 1000);
  sequence.begin("", 1100);
  assert.equal(sequence.with("p", 1200), " p"); // no link has this
});

test("lists wrap around", () => {
  assert.equal(listIndex("ArrowDown", 0, 3), 1);
  assert.equal(listIndex("ArrowDown", 2, 3), 0);
  assert.equal(listIndex("ArrowUp", 0, 3), 2);
  assert.equal(listIndex("ArrowDown", -1, 3), 0);
  assert.equal(listIndex("Home", 2, 3), 0);
  assert.equal(listIndex("End", 0, 3), 2);
  assert.equal(listIndex("a", 0, 3), null);
  assert.equal(listIndex("ArrowDown", -1, 0), null);
});

test("rows do not wrap around, and the first key takes the first row in view", () => {
  assert.equal(rowIndex("j", -1, 3), 0);
  assert.equal(rowIndex("k", -1, 3), 0);
  assert.equal(rowIndex("j", -1, 30, 12), 12);
  assert.equal(rowIndex("j", 1, 3), 2);
  assert.equal(rowIndex("j", 2, 3), 2);
  assert.equal(rowIndex("k", 0, 3), 0);
});

test("only Alt and an arrow move an item", () => {
  assert.equal(itemStep({ key: "ArrowUp", altKey: true }), -1);
  assert.equal(itemStep({ key: "ArrowDown", altKey: true }), 1);
  assert.equal(itemStep({ key: "ArrowUp", altKey: false }), undefined);
  assert.equal(itemStep({ key: "ArrowLeft", altKey: true }), undefined);
});

test("an entry fits if it has all typed words, in any case and order, or their letters", () => {
  assert.equal(rank("", "Timeline"), 0);
  assert.notEqual(rank("REL time", "Timeline of releases"), null);
  assert.equal(rank("rel x", "Timeline of releases"), null);
  assert.notEqual(rank("tmln", "Timeline"), null);
  assert.equal(rank("nlmt", "Timeline"), null);
  assert.notEqual(rank("retention", "Keep the text of runs", "run retention days"), null);
});

test("a start is better than the start of a word, then a part, other words, and letters", () => {
  const entries = ["safe-enhance", "enhance", "reenhance", "every new hat, and cream", "words"];
  const rankOf = (label) => rank("enhance", label, label === "words" ? "enhance" : "");
  const ranked = entries.toSorted((a, b) => rankOf(a) - rankOf(b));
  assert.deepEqual(ranked, ["enhance", "safe-enhance", "reenhance", "words", "every new hat, and cream"]);
  assert.equal(rank("v12", "enhance v12"), 1);
  assert.equal(rank("(x)", "Release (x)"), 1);
});
