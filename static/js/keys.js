// The meaning of keys: chords, sequences of two keys, steps through a list. Pure: no document, no clock.

const SEQUENCE_MS = 1200; // the second key of a sequence counts for this long

/** Return the command of Ctrl or Cmd and a key: "bar", "save", "run", or undefined. */
export function chord({ key, shiftKey }) {
  if (shiftKey) return undefined;
  return { k: "bar", s: "save", Enter: "run" }[key.length === 1 ? key.toLowerCase() : key];
}

/** Remembers the first of two keys, such as "g" of "g p". */
export class Sequence {
  #first = "";
  #at = 0;

  /** Return "g p" if `key` follows another one soon enough; otherwise null. */
  with(key, now) {
    return now - this.#at < SEQUENCE_MS ? `${this.#first} ${key}` : null;
  }

  /** Start again with `key`, or with "" after a known sequence. */
  begin(key, now) {
    this.#first = key;
    this.#at = now;
  }
}

/** Return the index that an arrow, Home or End goes to in a list that wraps around; null for any other key. */
export function listIndex(key, index, length) {
  const next = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: length - 1 }[key];
  return next === undefined || !length ? null : (next + length) % length;
}

/** Return the index of the row that j (next) or k (previous) goes to; -1 means that no row has the focus. */
export function rowIndex(key, index, length) {
  const next = index < 0 ? 0 : index + (key === "j" ? 1 : -1);
  return Math.max(0, Math.min(length - 1, next));
}

/** Return -1 or 1 for the arrows that move an item of a list with Alt; undefined for any other key. */
export const itemStep = ({ key, altKey }) => (altKey ? { ArrowUp: -1, ArrowDown: 1 }[key] : undefined);

/** Return whether a text has all the words, ignoring case. */
export const matches = (text, words) =>
  words.toLowerCase().split(/\s+/).every((word) => text.toLowerCase().includes(word));
