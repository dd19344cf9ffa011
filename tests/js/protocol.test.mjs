import assert from "node:assert/strict";
import { test } from "node:test";

import { eventsOf, hintName, htmlTargets, isHead, isHint, isOfOtherEpoch, isOld, retryDelay, startEpoch } from "../../static/js/protocol.js";

test("the page connects again at once, then less often, up to 2 seconds", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 99].map((attempts) => retryDelay(attempts, 1006, 0)), [
    100, 300, 700, 1200, 2000, 2000, 2000,
  ]);
  assert.equal(retryDelay(0, 1006, 1), 130);
});

test("a page too many waits half a minute", () => {
  assert.equal(retryDelay(0, 4429, 0), 30_000);
  assert.equal(retryDelay(9, 4429, 1), 39_000);
});

test("hints are JSON, everything else is HTML", () => {
  assert.equal(isHint('{"event": "revision"}'), true);
  assert.equal(isHint("<div></div>"), false);
  assert.equal(isHint(new Uint8Array()), false);
});

test("HTML says which element it is for", () => {
  const replacing = htmlTargets('\n<div id="run-12_a" class="b">text</div>');
  assert.deepEqual(replacing, { replaces: "run-12_a", addsTo: undefined });
  const adding = htmlTargets('<div hx-swap-oob="beforeend:#try-text">more</div>');
  assert.deepEqual(adding, { replaces: undefined, addsTo: "try-text" });
  assert.deepEqual(htmlTargets("text"), { replaces: undefined, addsTo: undefined });
});

test("counters of the server only grow", () => {
  const shown = { revision: "12", audit: "40", runs: "7" };
  assert.equal(isOld({ event: "revision", number: 12 }, shown), true);
  assert.equal(isOld({ event: "revision", number: 9 }, shown), true); // as numbers, not as texts
  assert.equal(isOld({ event: "revision", number: 100 }, shown), false);
  assert.equal(isOld({ event: "runs", number: 8 }, {}), false);
});

test("after a restore, lower numbers of the other epoch are news", () => {
  const shown = { epoch: "a1", revision: "12", audit: "40", runs: "7" };
  const hint = { event: "revision", number: 9, epoch: "b2" };
  assert.equal(isOfOtherEpoch({ event: "revision", number: 9, epoch: "a1" }, shown), false);
  assert.equal(isOfOtherEpoch({ event: "comparison", number: 9 }, shown), false);
  assert.equal(isOfOtherEpoch(hint, {}), false); // a page that shows no numbers
  assert.equal(isOfOtherEpoch(hint, shown), true);
  startEpoch(hint.epoch, shown);
  assert.equal(isOfOtherEpoch(hint, shown), false);
  assert.equal(isOld(hint, shown), false);
});

test("numbers of other hints are ids, which are never old", () => {
  assert.equal(isHead({ event: "comparison" }), false);
  assert.equal(isOld({ event: "comparison", number: 1 }, { comparison: "5" }), false);
  assert.equal(hintName({ event: "comparison", number: 1 }), "comparison 1");
  assert.equal(hintName({ event: "audit", number: 1 }), "audit");
});

test("presence is heard by all who listen for it and by those who listen for one template", () => {
  assert.deepEqual(eventsOf({ event: "presence", number: 3 }), ["live:presence", "live:presence-3"]);
  assert.deepEqual(eventsOf({ event: "runs", number: 3 }), ["live:runs"]);
});
