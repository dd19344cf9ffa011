import assert from "node:assert/strict";
import { test } from "node:test";

import { Sequence, chord, itemStep, listIndex, matches, rowIndex } from "../../static/js/keys.js";

test("chords, with and without caps lock", () => {
  assert.equal(chord({ key: "k" }), "bar");
  assert.equal(chord({ key: "S" }), "save");
  assert.equal(chord({ key: "Enter" }), "run");
  assert.equal(chord({ key: "k", shiftKey: true }), undefined);
  assert.equal(chord({ key: "enter" }), undefined);
  assert.equal(chord({ key: "x" }), undefined);
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

test("rows do not wrap around, and the first key takes the first row", () => {
  assert.equal(rowIndex("j", -1, 3), 0);
  assert.equal(rowIndex("k", -1, 3), 0);
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

test("a text matches if it has all the words, in any case and order", () => {
  assert.equal(matches("Timeline of releases", "REL time"), true);
  assert.equal(matches("Timeline of releases", "rel x"), false);
  assert.equal(matches("Timeline", ""), true);
  assert.equal(matches("Timeline", " line "), true);
});
