import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import * as storage from "../../static/js/storage.js";

afterEach(() => delete globalThis.sessionStorage);

const memory = (texts = new Map()) => ({
  getItem: (name) => texts.get(name) ?? null,
  setItem: (name, text) => texts.set(name, text),
  removeItem: (name) => texts.delete(name),
  clear: () => texts.clear(),
});

test("values come back", () => {
  globalThis.sessionStorage = memory();
  storage.writeJson("a", { text: "é" });
  assert.deepEqual(storage.readJson("a"), { text: "é" });
  storage.remove("a");
  assert.equal(storage.readJson("a"), null);
  storage.write("b", "1");
  storage.clear();
  assert.equal(storage.read("b"), null);
});

test("without storage nothing is read, and writing breaks nothing", () => {
  const refuse = () => {
    throw new Error("full or turned off");
  };
  for (const broken of [undefined, { getItem: refuse, setItem: refuse, removeItem: refuse, clear: refuse }]) {
    globalThis.sessionStorage = broken;
    storage.write("a", "1");
    storage.remove("a");
    storage.clear();
    assert.equal(storage.read("a"), null);
    assert.equal(storage.readJson("a"), null);
  }
});

test("kept texts are apart by person, page, form and field", () => {
  const field = { keep: undefined, address: "/runs/?q=1", form: "note", name: "text" };
  assert.equal(storage.fieldPlace(field), "/runs/?q=1#note-text");
  assert.equal(storage.fieldPlace({ ...field, keep: "draft-3" }), "draft-3");
  assert.equal(storage.keptName("7", "draft-3"), "keep:7:draft-3");
  assert.equal(storage.otherName("keep:7:draft-3"), "other:keep:7:draft-3");
});

test("a note belongs to an act; a publication has another number later", () => {
  const note = (heading) => storage.noteName("7", "/prompts/enhance/", heading);
  assert.equal(note("Publish enhance v2?"), note("Publish enhance v3?"));
  assert.notEqual(note("Roll back enhance to v2?"), note("Roll back enhance to v3?"));
  assert.equal(note("Discard?"), "note:7:/prompts/enhance/:Discard?");
});

test("cookies are found by their whole name", () => {
  const cookies = "tz=Europe/Berlin; csrftoken=abc=; mycsrftoken=no";
  assert.equal(storage.cookieIn(cookies, "csrftoken"), "abc=");
  assert.equal(storage.cookieIn(cookies, "token"), undefined);
  assert.equal(storage.cookieIn("", "csrftoken"), undefined);
});
