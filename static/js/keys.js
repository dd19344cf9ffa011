// The meaning of keys: names, sequences of two keys, steps through a list, ranking. Pure: no document, no clock.

const SEQUENCE_MS = 1200; // the second key of a sequence counts for this long

/** Return the keys in a declaration such as "r|Ctrl Enter", or "g p". */
export const keysIn = (declaration) => declaration.split("|").filter(Boolean);

/** Return the name of the pressed key as declarations have it: "r", "[", "ArrowLeft", "Ctrl Enter"; "" for others.
 *
 * Caps Lock makes no difference. Shift does, apart from characters that need it, such as "?".
 */
export function nameOf({ key, ctrlKey, metaKey, altKey, shiftKey }) {
  const name = key.length === 1 ? key.toLowerCase() : key;
  const isLetter = name !== key.toUpperCase() || name.length > 1;
  if (altKey || (shiftKey && isLetter)) return "";
  return ctrlKey || metaKey ? `Ctrl ${name}` : name;
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

/** Return the index of the row that j (next) or k (previous) goes to. Without a row (-1), both go to `first`. */
export function rowIndex(key, index, length, first = 0) {
  const next = index < 0 ? first : index + (key === "j" ? 1 : -1);
  return Math.max(0, Math.min(length - 1, next));
}

/** Return -1 or 1 for the arrows that move an item of a list with Alt; undefined for any other key. */
export const itemStep = ({ key, altKey }) => (altKey ? { ArrowUp: -1, ArrowDown: 1 }[key] : undefined);

const hasInOrder = (text, letters) => {
  let at = -1;
  return [...letters].every((letter) => (at = text.indexOf(letter, at + 1)) >= 0);
};

const isPartOfWord = (character) => /[\p{L}\p{N}]/u.test(character);

/** Return 0, 1 or 2 for a word at the label's start, at the start of a word in it, or inside one; null if absent. */
function place(word, label) {
  if (label.startsWith(word)) return 0;
  let at = label.indexOf(word);
  if (at < 0) return null;
  while (at >= 0 && isPartOfWord(label[at - 1])) at = label.indexOf(word, at + 1);
  return at < 0 ? 2 : 1;
}

function rankOfWord(word, label, words) {
  const inLetters = hasInOrder(label, word) ? 4 : null;
  return place(word, label) ?? (words.includes(word) ? 3 : inLetters);
}

/** Return how well an entry of the command bar fits what was typed, 0 being best; null if it does not fit.
 *
 * Each typed word is, best first: the start of the label, the start of a word in it, a part of it, a part of the other
 * `words` of the entry, or letters that the label has in this order.
 */
export function rank(typed, label, words = "") {
  const found = typed.toLowerCase().split(/\s+/).filter(Boolean);
  const ranks = found.map((word) => rankOfWord(word, label.toLowerCase(), words.toLowerCase()));
  return ranks.includes(null) ? null : ranks.reduce((sum, each) => sum + each, 0);
}
