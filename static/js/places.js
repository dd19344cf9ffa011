// Places in a text: the hits of a search, the lines that changed, the place that a problem names. Pure: no document.

export const MOST_HITS = 1000;

/** Return the [start, end] of each place where `words` are in the text, ignoring case; at most MOST_HITS. */
export function hitsOf(text, words) {
  if (!words) return [];
  const pattern = new RegExp(words.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"), "gi");
  const hits = [];
  for (const hit of text.matchAll(pattern)) {
    hits.push([hit.index, hit.index + hit[0].length]);
    if (hits.length === MOST_HITS) break;
  }
  return hits;
}

/** Return the index of the first hit at or after `caret`, in a list that starts again; -1 without hits. */
export function nextHit(hits, caret) {
  const index = hits.findIndex(([start]) => start >= caret);
  return index < 0 && hits.length ? 0 : index;
}

/** Return what a search says: "3 of 12", "No results", or nothing for no words. */
export function foundText(words, count, index) {
  if (!words) return "";
  if (!count) return "No results";
  return `${index + 1} of ${count}${count === MOST_HITS ? "+" : ""}`;
}

/** Return the lines that differ, as {from, removed, added}: `removed` old lines from index `from` on become `added`. */
export function changedLines(old, now) {
  const most = Math.min(old.length, now.length);
  let from = 0;
  while (from < most && old[from] === now[from]) from += 1;
  let same = 0;
  while (same < most - from && old.at(-1 - same) === now.at(-1 - same)) same += 1;
  return { from, removed: old.length - from - same, added: now.slice(from, now.length - same) };
}

/** Return the [start, end] that a sentence such as "Line 2, column 5: …" names; null if it names none.
 *
 * Columns count characters, as the server does. The place ends with the braces that begin at it.
 */
export function placeOf(text, sentence) {
  const named = /Line (\d+), column (\d+):/.exec(sentence);
  if (!named) return null;
  const lines = text.split("\n");
  const [line, column] = [Number(named[1]), Number(named[2])];
  if (line > lines.length) return null;
  const before = lines.slice(0, line - 1).reduce((length, each) => length + each.length + 1, 0);
  const start = before + [...lines[line - 1]].slice(0, column - 1).join("").length;
  const braces = /^\{\{(?:[^\n]*?\}\})?/.exec(text.slice(start, start + 200));
  return [start, start + (braces?.[0].length ?? 0)];
}
