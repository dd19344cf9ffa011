// Finds a control again after its part of the page was replaced.

import { $$ } from "./dom.js";

const CONTROLS = "button, a, summary, label, input, select, textarea";

/** Return the control at an element, or null: the field of a label, and a button for its icon. */
export function controlAt(element) {
  const control = element?.closest?.(CONTROLS);
  return control?.control ?? control ?? null;
}

/** Return the kind and the label of a control. */
function nameOf(control) {
  const label = control.labels?.[0] ?? control;
  return `${control.nodeName} ${control.ariaLabel ?? label.textContent.trim()}`;
}

const named = (name) => $$(name.split(" ")[0]).filter((control) => nameOf(control) === name);

/** Return a function that finds `control` later: by its id, or by its name if no other control has it. */
export function finderOf(control) {
  if (control.id) return () => document.getElementById(control.id);
  const name = nameOf(control);
  const isOnly = named(name).length === 1;
  return () => {
    const found = named(name);
    return isOnly && found.length === 1 ? found[0] : null;
  };
}
