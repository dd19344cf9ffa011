import assert from "node:assert/strict";
import { test } from "node:test";

import { matching, variableAtCaret, written } from "../../static/js/variables.js";

/** `|` marks the caret; returns what would be replaced, and the part of the name. */
function replaced(marked) {
  const caret = marked.indexOf("|");
  const text = marked.replace("|", "");
  const found = variableAtCaret(text, caret);
  return found && [text.slice(found.start, found.end), found.part];
}

test("braces begin a variable", () => {
  assert.deepEqual(replaced("A {{|"), ["{{", ""]);
  assert.deepEqual(replaced("A {{ st|"), ["{{ st", "st"]);
  assert.deepEqual(replaced("{{\tSTyle|"), ["{{\tSTyle", "style"]);
  assert.deepEqual(replaced("{{{st|"), ["{{st", "st"]);
});

test("the rest of the variable is replaced with it", () => {
  assert.deepEqual(replaced("A {{ st|yle }} b"), ["{{ style }}", "st"]);
  assert.deepEqual(replaced("{{|}} and {{ more }}"), ["{{}}", ""]);
  assert.deepEqual(replaced("{{ st|yle and {{ more }}"), ["{{ st", "st"]);
});

test("nothing is offered elsewhere", () => {
  for (const marked of ["|", "{|", "a{ {|", "{{ style }}|", "{{ two words|", "{{ st-|", "{{\nst|", "\\{{ st|", "|{{ st"]) {
    assert.equal(replaced(marked), null, marked);
  }
});

test("names match by any part", () => {
  const variables = [{ name: "style" }, { name: "house_style" }, { name: "tone" }];
  assert.deepEqual(matching(variables, "style"), variables.slice(0, 2));
  assert.deepEqual(matching(variables, ""), variables);
  assert.deepEqual(matching(variables, "x"), []);
});

test("a completed variable is one that is not typed any more", () => {
  const text = written("style");
  assert.equal(text, "{{ style }}");
  assert.equal(variableAtCaret(text, text.length), null);
});
