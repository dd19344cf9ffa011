// Variables in a prompt's text, such as {{ name }}: how they are written and where one is being typed. Pure: no
// document.

export const written = (name) => `{{ ${name} }}`;

/** Return what a completion at the caret would replace, as {start, end, part}, or null if no variable is being typed.
 *
 * That is `{{` and perhaps the beginning of a name before the caret, and the rest of the variable after the caret.
 * A backslash before `{{` makes it ordinary text.
 */
export function variableAtCaret(text, caret) {
  const typed = /(?<!\\)\{\{[ \t]*(\w*)$/.exec(text.slice(0, caret));
  if (!typed) return null;
  const rest = /^\w*[ \t]*\}\}/.exec(text.slice(caret))?.[0].length ?? 0;
  return { start: typed.index, end: caret + rest, part: typed[1].toLowerCase() };
}

/** Return the variables whose name contains `part`. */
export const matching = (variables, part) => variables.filter(({ name }) => name.includes(part));
