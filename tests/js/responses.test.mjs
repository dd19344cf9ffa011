import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { failureReason, loginExpired, saveFailure, succeeded } from "../../static/js/responses.js";

beforeEach(() => (globalThis.document = { body: { dataset: { signIn: "/sign-in/" } } }));
afterEach(() => delete globalThis.document);

const answer = (status, headers = {}, responseText = "") => ({
  status,
  responseText,
  getResponseHeader: (name) => headers[name] ?? null,
});
const plain = (status, text) => answer(status, { "Content-Type": "text/plain; charset=utf-8" }, text);

test("a redirect to the sign-in page is no success", () => {
  assert.equal(succeeded(answer(204)), true);
  assert.equal(succeeded(answer(204, { "HX-Redirect": "/prompts/" })), true);
  assert.equal(succeeded(answer(204, { "HX-Redirect": "/sign-in/?next=/" })), false);
  assert.equal(succeeded(answer(409)), false);
  assert.equal(succeeded(answer(0)), false);
});

test("no login expires on pages for people who are signed out", () => {
  globalThis.document.body.dataset.signIn = undefined;
  assert.equal(loginExpired(answer(204, { "HX-Redirect": "/sign-in/" })), false);
});

test("the server's own sentence is shown, but no whole page", () => {
  assert.equal(failureReason(plain(409, " Somebody else was faster.\n")), "Somebody else was faster.");
  assert.match(failureReason(plain(500, "x".repeat(301))), /error 500/);
  assert.match(failureReason(plain(500, "  ")), /error 500/);
  assert.match(failureReason(answer(500, { "Content-Type": "text/html" }, "<h1>Oops</h1>")), /error 500/);
});

test("each failure says what to do", () => {
  const sentences = [0, 403, 404, 413, 429, 500].map((status) => failureReason(answer(status)));
  assert.equal(new Set(sentences).size, 6);
  for (const sentence of sentences) assert.match(sentence, /still here|Reload|[Tt]ry|try again/);
});

test("a draft is saved again by itself after an outage, and only then", () => {
  const retries = (status) => saveFailure(answer(status)).retries;
  assert.deepEqual([0, 429, 500, 503].map(retries), [true, true, true, true]);
  assert.deepEqual([400, 403, 404, 409, 413, 422].map(retries), Array(6).fill(false));
  assert.equal(saveFailure(answer(503, { "HX-Redirect": "/sign-in/" })).retries, false);
});

test("only 409 is a conflict, with the server's reason", () => {
  const conflict = saveFailure(answer(409, { "X-Reason": "Ada published v3." }));
  assert.deepEqual(conflict, { text: "Not saved: Ada published v3.", isConflict: true, retries: false });
  assert.equal(saveFailure(answer(422)).isConflict, false);
  assert.equal(saveFailure(answer(422)).text, "Not saved: see the message on this page");
});
