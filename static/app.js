// PromptOps in the browser: small parts, each bound to data- attributes through delegated events, so that everything
// also works in what htmx swaps in later. No build step, no eval, no inline handlers (the security policy forbids them).
"use strict";

(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const on = (event, handler, options) => document.addEventListener(event, handler, options);
  const apple = /Mac|iPhone|iPad/.test(navigator.platform);

  // ------------------------------------------------------------------ toasts and announcements

  const TOAST_MS = 8000;

  /** Shows a sentence; `level` is success, info, warning or error. Errors stay until dismissed. Never twice the same. */
  function toast(text, level = "info") {
    const box = $("#toasts");
    if (!box || $$(".toast p", box).some((p) => p.textContent === text)) return;
    const item = document.createElement("div");
    item.className = `toast ${level}`;
    item.dataset.toast = "";
    if (level === "error") item.setAttribute("role", "alert");
    const words = document.createElement("p");
    words.dir = "auto";
    words.textContent = text;
    const close = document.createElement("button");
    close.type = "button";
    close.className = "btn quiet small icon-only";
    close.dataset.dismiss = "";
    close.setAttribute("aria-label", "Dismiss");
    close.textContent = "×";
    item.append(words, close);
    box.append(item);
    expire(item);
  }

  /** Removes a toast after a while, but not an error, and not while the pointer or the focus is on it. */
  function expire(item) {
    if (item.matches(".error, .warning")) return;
    setTimeout(() => (item.matches(":hover, :focus-within") ? expire(item) : item.remove()), TOAST_MS);
  }

  /** Says a sentence to screen readers only. */
  function announce(text) {
    const region = $("#announce");
    if (region) region.textContent = text;
  }

  on("click", (event) => event.target.closest("[data-dismiss]")?.closest("[data-toast]")?.remove());
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) for (const node of addedNodes) if (node.matches?.("[data-toast]")) expire(node);
    placeToasts();
  }).observe($("#toasts"), { childList: true });
  $$("[data-toast]").forEach(expire);

  // ------------------------------------------------------------------ theme (theme.js applies it before the first paint)

  function showTheme() {
    const now = document.documentElement.dataset.theme ?? "";
    for (const choice of $$("[data-theme-choice]")) choice.setAttribute("aria-pressed", choice.dataset.themeChoice === now);
  }

  on("click", (event) => {
    const theme = event.target.closest("[data-theme-choice]")?.dataset.themeChoice;
    if (theme === undefined) return;
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // Storage may be turned off; the choice then lasts for this page.
    }
    showTheme();
  });
  showTheme();

  // ------------------------------------------------------------------ small form helpers

  // A sample goes into its field as if it were typed.
  on("click", (event) => {
    const sample = event.target.closest("[data-fill]");
    if (!sample) return;
    const field = $(sample.dataset.fill);
    field.value = sample.dataset.value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    closeMenus();
    field.focus();
  });
  // A slider and the number beside it say the same.
  on("input", (event) => {
    const twin = $(event.target.dataset?.twin ?? "#none");
    if (twin) twin.value = event.target.value;
  });
  // A choice that needs no button: the form goes at once.
  on("change", (event) => event.target.closest("[data-submits]")?.form.requestSubmit());

  // What is folded away in a line of a difference opens on both sides at once.
  const openBoth = ({ target: gap }) => {
    if (!gap.matches?.("details.gap")) return;
    for (const other of $$(`details.gap[data-gap="${gap.dataset.gap}"]`, gap.closest(".line"))) other.open = gap.open;
  };
  on("toggle", openBoth, true); // the event does not bubble
  // ------------------------------------------------------------------ variables in the editor: buttons, completion

  const variables = () => $$("[data-insert]").map(({ dataset }) => ({ name: dataset.insert, value: dataset.value }));

  /** Puts a variable in place of what is between two positions, as if it were typed, so that it can be undone. */
  function putVariable(field, name, start, end) {
    field.focus();
    field.setSelectionRange(start, end);
    const text = `{{ ${name} }}`;
    if (document.execCommand("insertText", false, text)) return;
    field.setRangeText(text, start, end, "end");
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  on("click", (event) => {
    const button = event.target.closest("[data-insert]");
    const field = button && $("textarea.editor");
    if (field) putVariable(field, button.dataset.insert, field.selectionStart, field.selectionEnd);
  });

  const MOST_OFFERED = 8; // at once; it does not scroll, typing on narrows it
  let completion = null; // while it is open: {field, box, list, start, end}

  /** Offers variables where `{{` and perhaps the beginning of a name stand before the caret. */
  function complete(field) {
    closeCompletion();
    const at = field.selectionStart;
    const typed = at === field.selectionEnd && /(?<!\\)\{\{[ \t]*(\w*)$/.exec(field.value.slice(0, at));
    const found = typed ? variables().filter(({ name }) => name.includes(typed[1].toLowerCase())) : [];
    if (!found.length) return;
    const rest = /^\w*[ \t]*\}\}/.exec(field.value.slice(at))?.[0].length ?? 0;
    const box = document.createElement("div");
    box.className = "completion";
    const list = document.createElement("div");
    list.id = "completion";
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", "Variables");
    list.append(...found.slice(0, MOST_OFFERED).map(offered));
    const more = document.createElement("p");
    more.className = "faint";
    more.textContent = found.length > MOST_OFFERED ? `${found.length - MOST_OFFERED} more: type on` : "";
    box.append(list, more);
    $("#main").append(box);
    completion = { field, box, list, start: typed.index, end: at + rest };
    field.setAttribute("aria-controls", list.id);
    field.setAttribute("aria-autocomplete", "list");
    placeCompletion();
    chooseVariable(list.firstChild);
    announce(`${found.length} variable${found.length === 1 ? "" : "s"}. Arrows choose, Enter inserts.`);
  }

  function offered({ name, value }) {
    const option = document.createElement("div");
    option.id = `completion-${name}`;
    option.dataset.name = name;
    option.setAttribute("role", "option");
    const title = document.createElement("b");
    title.textContent = name;
    const shown = document.createElement("span");
    shown.dir = "auto";
    shown.textContent = value || "(empty)";
    option.append(title, shown);
    return option;
  }

  function chooseVariable(option) {
    for (const other of completion.list.children) other.setAttribute("aria-selected", other === option);
    completion.field.setAttribute("aria-activedescendant", option.id);
  }

  /** Under the caret, or over it where there is no room. A copy of the text in a hidden box tells where that is. */
  function placeCompletion() {
    const { field, box, start } = completion;
    const look = getComputedStyle(field);
    const mirror = document.createElement("div");
    mirror.className = "mirror";
    for (const name of ["font", "padding", "tabSize", "letterSpacing", "direction"]) mirror.style[name] = look[name];
    mirror.style.width = `${field.clientWidth}px`;
    const mark = document.createElement("span");
    mark.textContent = "{{";
    mirror.append(field.value.slice(0, start), mark);
    document.body.append(mirror);
    const frame = field.getBoundingClientRect();
    const top = frame.top + mark.offsetTop - field.scrollTop;
    const below = Math.min(Math.max(top + mark.offsetHeight, frame.top), frame.bottom);
    const left = Math.min(frame.left + mark.offsetLeft, innerWidth - box.offsetWidth - 8);
    mirror.remove();
    box.style.left = `${Math.max(8, left)}px`;
    box.style.top = `${below + box.offsetHeight + 8 < innerHeight ? below + 4 : Math.max(8, top - box.offsetHeight - 4)}px`;
  }

  function closeCompletion() {
    if (!completion) return;
    for (const name of ["aria-controls", "aria-autocomplete", "aria-activedescendant"]) completion.field.removeAttribute(name);
    completion.box.remove();
    completion = null;
  }

  function takeVariable(option) {
    const { field, start, end } = completion;
    closeCompletion();
    putVariable(field, option.dataset.name, start, end);
    closeCompletion(); // putting it in was an input, too
  }

  on("input", (event) => event.target.matches("textarea.editor") && complete(event.target));
  on("keydown", (event) => {
    if (!completion || event.target !== completion.field || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    const options = [...completion.list.children];
    const at = options.findIndex((option) => option.getAttribute("aria-selected") === "true");
    if (event.key === "ArrowDown") chooseVariable(options[(at + 1) % options.length]);
    else if (event.key === "ArrowUp") chooseVariable(options[(at - 1 + options.length) % options.length]);
    else if (event.key === "Enter" || (event.key === "Tab" && !event.shiftKey)) takeVariable(options[at]);
    else if (event.key === "Escape") closeCompletion();
    else {
      if (/^(Arrow|Home|End|Page)/.test(event.key)) closeCompletion(); // the caret goes elsewhere
      return;
    }
    event.preventDefault();
  });
  on("pointerdown", (event) => {
    const option = completion && event.target.closest?.("#completion [role=option]");
    if (!option) return event.target === completion?.field && closeCompletion();
    event.preventDefault(); // the focus stays in the text
    takeVariable(option);
  });
  on("focusout", (event) => event.target === completion?.field && closeCompletion());
  on("scroll", closeCompletion, true);
  window.addEventListener("resize", closeCompletion);

  // ------------------------------------------------------------------ menus (details) close like menus

  const closeMenus = (but) => $$("details.menu[open]").forEach((menu) => menu !== but && (menu.open = false));
  on("click", (event) => closeMenus(event.target.closest("details.menu")));
  on("keydown", (event) => {
    const menu = event.key === "Escape" && $("details.menu[open]");
    if (!menu) return;
    menu.open = false;
    $("summary", menu).focus();
  });

  // ------------------------------------------------------------------ dialogs

  /** Where to find what opens a dialog once it, or the whole page, has been replaced: a selector. */
  function findAgain({ id, form }) {
    if (id) return `#${CSS.escape(id)}`;
    return form?.id ? `#${CSS.escape(form.id)} button:not([type=button])` : "";
  }

  /** `asked` is what asked the server for the dialog: while it was busy it had no focus, and it may be replaced by now. */
  function openDialog(dialog, asked = null) {
    if (!dialog || dialog.open) return;
    closeMenus();
    const { activeElement } = document;
    dialog.dataset.opener = findAgain((activeElement === document.body && asked) || activeElement);
    dialog.showModal(); // traps the focus and gives it back on close
    dialog.dispatchEvent(new Event("opened"));
    letScroll();
    placeToasts();
  }

  /** Toasts live in the open dialog, if any: outside of it they could neither be clicked nor would they be read out.
   *  Where they would lie over it, over its buttons perhaps, they take a row of it. */
  function placeToasts() {
    const toasts = $("#toasts");
    const home = $("dialog:modal") ?? document.body;
    if (toasts.parentElement !== home) home.append(toasts);
    toasts.classList.remove("within");
    if (home === document.body || !toasts.childElementCount) return;
    const [box, over] = [home, toasts].map((element) => element.getBoundingClientRect());
    toasts.classList.toggle("within", over.top < box.bottom && over.left < box.right);
  }

  on("close", placeToasts, true); // the event does not bubble
  window.addEventListener("resize", placeToasts);
  const growing = new ResizeObserver(placeToasts); // what a panel shows may come bit by bit
  $$("dialog").forEach((dialog) => growing.observe(dialog));
  // The browser gives the focus back to what opened it, but what opened it may have been replaced meanwhile.
  on("close", ({ target }) => {
    const { activeElement, body } = document;
    if (activeElement === body || target.contains(activeElement)) $(target.dataset.opener || "#none")?.focus();
  }, true);
  // What was shown in the review panel goes with it: a one-time link must not stay in the page.
  on("close", (event) => {
    if (!event.target.matches("[data-opens-itself]")) return;
    for (const cancel of $$("[data-running] form[ws-send]", event.target)) cancel.requestSubmit(); // nobody sees its end
    event.target.replaceChildren();
  }, true);
  on("click", (event) => {
    const opener = event.target.closest("[data-open-dialog]");
    if (opener) openDialog($(opener.dataset.openDialog));
    if (event.target.closest("[data-close-dialog]")) event.target.closest("dialog")?.close();
  });
  // A click on the backdrop reports the dialog itself; one that began inside (selecting text) does not count.
  let pressedOn = null;
  on("pointerdown", (event) => (pressedOn = event.target));
  on("click", (event) => {
    if (event.target.nodeName !== "DIALOG" || pressedOn !== event.target) return;
    const box = event.target.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
    if (!inside) event.target.close();
  });
  on("htmx:beforeSwap", (event) => {
    if (event.detail.target?.contains($("#toasts"))) document.body.append($("#toasts"));
  });
  on("htmx:afterSettle", (event) => {
    const dialog = event.detail.target?.closest?.("dialog[data-opens-itself]");
    placeToasts();
    if (!dialog) return;
    if (dialog.querySelector(":scope > :not(#toasts)")) {
      const { elt, triggeringEvent } = event.detail.requestConfig ?? {};
      openDialog(dialog, triggeringEvent?.submitter ?? elt);
      restoreNote();
    }
    else dialog.close();
  });

  // ------------------------------------------------------------------ times

  const [MINUTE, HOUR, DAY] = [60, 3600, 86400];
  const exact = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const exactWithZone = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" });
  const dateOnly = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

  /** The same rule as `relative` in promptops/web/templatetags/ui.py. */
  function relative(moment) {
    const seconds = (Date.now() - moment) / 1000;
    const size = Math.abs(seconds);
    if (size < 45) return "just now";
    if (size >= 30 * DAY) return dateOnly.format(moment);
    let amount;
    if (size < 45 * MINUTE) amount = `${Math.max(1, Math.round(size / MINUTE))} min`;
    else if (size < 22 * HOUR) amount = `${Math.max(1, Math.round(size / HOUR))} h`;
    else {
      const days = Math.max(1, Math.round(size / DAY));
      amount = days === 1 ? "1 day" : `${days} days`;
    }
    return seconds > 0 ? `${amount} ago` : `in ${amount}`;
  }

  function showTimes(root = document) {
    for (const time of $$("time[data-relative], time[data-exact]", root)) {
      const moment = new Date(time.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      const text = "exact" in time.dataset ? exact.format(moment) : relative(moment);
      if (time.textContent !== text) time.textContent = text;
      time.title = exactWithZone.format(moment);
    }
  }
  setInterval(showTimes, 20_000);

  // ------------------------------------------------------------------ counters

  /** Characters and tokens of a text; tokens are UTF-8 bytes / 4, rounded up, as in promptops.text.estimate_tokens. */
  function count(text) {
    const characters = [...text].length;
    const tokens = Math.ceil(new TextEncoder().encode(text).length / 4);
    const number = (n) => n.toLocaleString("en-US");
    return `${number(characters)} character${characters === 1 ? "" : "s"}, about ${number(tokens)} token${tokens === 1 ? "" : "s"}`;
  }

  function showCounts(field) {
    for (const counter of $$("[data-count-for]")) {
      const source = $(counter.dataset.countFor);
      if (source && (!field || field === source)) counter.textContent = count(source.value);
    }
  }
  on("input", (event) => showCounts(event.target));

  // ------------------------------------------------------------------ what was typed and not sent

  const dirty = new Set(); // forms with text that no server has
  let leaving = false; // set where leaving is right although a form is dirty, because its text is kept

  const isGuarded = (form) => form.isConnected && form.matches("[data-guard], [data-autosave]");
  const hasUnsaved = () => [...dirty].some(isGuarded);

  on("input", (event) => event.target.form && dirty.add(event.target.form));
  on("reset", (event) => dirty.delete(event.target));
  window.addEventListener("beforeunload", (event) => {
    if (leaving) return;
    const unsaved = [...dirty].filter(isGuarded);
    if (unsaved.filter((form) => !saveOnTheWay(form)).length) event.preventDefault();
  });

  // What is typed into a data-keep field, or into a form that is guarded, survives a reload, a closed dialog and an
  // expired login, in this tab and for this person; passwords and keys never do.
  const KEPT = "[data-keep], form[data-guard] :is(textarea, input:not([type]), [type=text], [type=url], [type=number])";
  const isKept = (field) => Boolean(field.name && field.matches?.(KEPT));
  const placeOf = (field) => field.dataset.keep ?? `${location.pathname}${location.search}#${field.form.id}-${field.name}`;
  const keepName = (field) => `keep:${document.body.dataset.user}:${placeOf(field)}`;
  function storage(action) {
    try {
      return action(sessionStorage);
    } catch {
      return null; // turned off or full: the page works, only this net is missing
    }
  }
  const forget = (field) => storage((s) => s.removeItem(keepName(field)));
  function keep(field) {
    const { base, seen } = field.form?.elements ?? {}; // of an editor: what its text began from
    const from = stored(keepName(field))?.from ?? field.defaultValue; // a refused form shows what was sent, not what is
    if (field.value === from) return forget(field);
    const kept = { from, text: field.value, base: base?.value, seen: seen?.value };
    storage((s) => s.setItem(keepName(field), JSON.stringify(kept)));
  }
  on("input", (event) => isKept(event.target) && keep(event.target));

  const stored = (name) => JSON.parse(storage((s) => s.getItem(name)) ?? "null");
  const putBack = (field, kept) => {
    field.value = kept.text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };

  function restoreKept(root = document) {
    const back = []; // in forms that do not save by themselves
    for (const field of $$(KEPT, root).filter(isKept)) {
      const kept = stored(keepName(field));
      const notice = field.form && $(`[data-kept-of="#${field.form.id}"]`);
      if (kept?.text === field.value) {
        if (notice && field.value === field.defaultValue) forget(field); // the server has it
      } else if (kept && notice && kept.from !== field.defaultValue) {
        // Typed on top of something else than the server shows by now: not put back without asking.
        storage((s) => s.setItem(otherName(field), JSON.stringify(kept)));
        forget(field);
      } else if (kept) {
        if (field.form?.matches("[data-guard]")) back.push({ field, changed: kept.from !== field.defaultValue });
        putBack(field, kept);
      }
      if (notice) offerOther(field, notice);
    }
    tellBack(back);
  }

  function tellBack(back) {
    if (!back.length) return;
    for (const { field } of back) if (field.closest("details")) field.closest("details").open = true;
    if (back.some(({ changed }) => changed)) toast("What you typed here before is back, over what was changed here meanwhile. Look at it before you save.", "warning");
    else toast("What you typed here before is back. It is not saved yet.");
  }

  const otherName = (field) => `other:${keepName(field)}`;
  function offerOther(field, notice) {
    const other = stored(otherName(field));
    if (!other) return;
    notice.hidden = false;
    if (field.nodeName === "TEXTAREA") $("[data-kept-text]", notice).textContent = other.text;
  }

  on("click", (event) => {
    const back = event.target.closest("[data-kept-back]");
    if (!back && !event.target.closest("[data-kept-drop]")) return;
    const notice = event.target.closest("[data-kept-of]");
    const form = $(notice.dataset.keptOf);
    for (const field of form.elements) {
      const other = field.dataset.keep && stored(otherName(field));
      if (!other) continue;
      storage((s) => s.removeItem(otherName(field)));
      if (!back) continue;
      // As if it were saved then and by that page: what came in between is told, and merged or chosen from.
      form.elements.base.value = other.base;
      form.elements.seen.value = other.seen;
      form.elements.page.value = Math.random().toString(16).slice(2);
      putBack(field, other);
    }
    notice.hidden = true;
    if (back) document.body.dispatchEvent(new CustomEvent("live:revision")); // what is live, as seen from that base
  });

  // A note is there again when the panel is next opened for the same act on this page: it may have been closed by
  // mistake, or the login expired. A text that is published may have another number by then; other numbers tell acts apart.
  const noteName = () => `note:${document.body.dataset.user}:${location.pathname}:${$("#review h2").textContent.replace(/^(Publish .* v)\d+\?$/, "$1")}`;
  const forgetNote = () => storage((s) => s.removeItem(noteName()));
  on("input", ({ target }) => target.id === "review-note" && storage((s) => s.setItem(noteName(), target.value)));
  function restoreNote() {
    const field = $("#review-note");
    if (field && !field.value) field.value = storage((s) => s.getItem(noteName())) ?? "";
  }

  const keptIn = (form) => [...form.elements].filter(isKept);
  const forgetKept = (form) => keptIn(form).forEach(forget);

  // What an ordinary form sent is forgotten once the server has taken it: it answers with a redirect then, but not to
  // where one signs in, and otherwise shows the form again or an error.
  const SENT = "sent";
  const FOCUS = "focus";
  function settleSent() {
    const sent = stored(SENT);
    storage((s) => s.removeItem(SENT));
    const redirected = performance.getEntriesByType("navigation")[0]?.redirectCount > 0;
    if (sent && redirected && signIn) storage((s) => sent.forEach((name) => s.removeItem(name)));
  }

  // An ordinary (not htmx) form leaves the page; what it held is on its way.
  const isHtmx = (form) => form.matches("[hx-post], [hx-put], [hx-patch], [hx-delete], [hx-get]");
  on("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || isHtmx(form)) return;
    dirty.delete(form);
    const token = form.elements.csrfmiddlewaretoken;
    if (token) token.value = cookie("csrftoken") ?? token.value; // as with htmx: that of the page may be stale
    storage((s) => s.setItem(SENT, JSON.stringify(keptIn(form).map(keepName))));
    if (form.matches("[data-forgets]")) storage((s) => s.clear());
    const button = event.submitter;
    if (!button?.matches("[data-busy]")) return;
    button.setAttribute("aria-busy", "true");
    setTimeout(() => (button.disabled = true)); // after the browser has read the form, which would skip a disabled button
  });
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    storage((s) => s.removeItem(SENT));
    for (const button of $$("[data-busy][aria-busy]")) {
      button.removeAttribute("aria-busy");
      button.disabled = false;
    }
  });

  // ------------------------------------------------------------------ requests: headers, busy buttons, errors

  /** Why a request failed, as a sentence. The server may send its own as plain text. */
  function reason(xhr) {
    const said = (xhr.getResponseHeader("Content-Type") ?? "").startsWith("text/plain") && xhr.responseText.trim();
    if (said && said.length <= 300) return said;
    if (xhr.status === 0) return "The server could not be reached. What you typed is still here.";
    if (xhr.status === 403) return "You may not do this, or your sign-in has changed. Reload the page to see what you may do.";
    if (xhr.status === 404) return "That does not exist any more. Reload the page to see what does.";
    if (xhr.status === 413) return "That is too long for the server. Shorten it and try again.";
    if (xhr.status === 429) return "That was too often. Wait a moment and try again.";
    return `The server could not do this (error ${xhr.status}). What you typed is still here; try again.`;
  }

  const signIn = document.body.dataset.signIn;
  const redirect = (xhr) => xhr.getResponseHeader("HX-Redirect") ?? "";
  const loginExpired = (xhr) => Boolean(signIn) && redirect(xhr).startsWith(signIn);
  const succeeded = (xhr) => xhr.status >= 200 && xhr.status < 400 && !loginExpired(xhr);
  const cookie = (name) => document.cookie.split("; ").find((c) => c.startsWith(`${name}=`))?.slice(name.length + 1);

  on("htmx:configRequest", (event) => {
    // The token of the page is stale after a sign-in in another tab; the cookie never is.
    const token = cookie("csrftoken");
    if (token) event.detail.headers["X-CSRFToken"] = token;
  });
  let hadFocus = null;
  on("htmx:beforeRequest", (event) => setBusy(event, true));
  on("htmx:afterRequest", (event) => setBusy(event, false));

  function setBusy(event, busy) {
    const elt = event.detail.elt;
    const submitter = event.detail.requestConfig?.triggeringEvent?.submitter;
    const button = elt.matches("[data-busy]") ? elt : submitter?.matches("[data-busy]") ? submitter : null;
    if (!button) return;
    if (busy) {
      hadFocus = document.activeElement === button ? button : hadFocus;
      button.setAttribute("aria-busy", "true");
    } else button.removeAttribute("aria-busy");
    button.disabled = busy;
    // A disabled button loses the focus; it gets it back unless something else has it by now.
    if (busy || hadFocus !== button || document.activeElement !== document.body) return;
    (button.isConnected ? button : document.getElementById(button.id))?.focus(); // what it belongs to may have been replaced
  }

  on("htmx:beforeOnLoad", (event) => {
    if (!loginExpired(event.detail.xhr)) return settle(event);
    event.preventDefault(); // htmx would go at once, in the middle of a word
    toSignIn(redirect(event.detail.xhr));
  });

  const TYPING_MS = 1000; // who has not typed for so long is not in the middle of a word
  let typedAt = 0;
  on("input", () => (typedAt = Date.now()), true);

  /** Go to the sign-in page once nobody is typing: the next keys would land there, and be missing here. */
  function toSignIn(address) {
    if (signedOut) return;
    signedOut = leaving = true; // the kept text comes back after signing in, so the browser need not ask
    const go = () => {
      const left = typedAt + TYPING_MS - Date.now();
      if (left > 0) setTimeout(go, left);
      else location.assign(address);
    };
    go();
  }

  /** Forgets what a form held once the server has taken it; a review panel that opens has taken nothing yet. */
  function settle(event) {
    const { elt: form, xhr, target, requestConfig } = event.detail;
    if ($("#review-note") && succeeded(xhr) && redirect(xhr)) forgetNote();
    if (form.dataset?.drops && succeeded(xhr)) {
      const dropped = $(form.dataset.drops); // its text is kept by the server, or given up
      dirty.delete(dropped);
      forgetKept(dropped);
    }
    // The page comes anew, and with it the focus goes; it comes back to what opened the panel, or to the editor.
    const focus = { path: location.pathname, opener: $("dialog:modal")?.dataset.opener };
    if (succeeded(xhr) && redirect(xhr)) storage((s) => s.setItem(FOCUS, JSON.stringify(focus)));
    if (form.nodeName !== "FORM" || form.matches("[data-autosave]") || requestConfig.verb === "get") return;
    if (!succeeded(xhr) || (target.matches("[data-opens-itself]") && !redirect(xhr))) return;
    dirty.delete(form);
    forgetKept(form);
  }

  const liveTrigger = (event) => {
    const name = event.detail.requestConfig?.triggeringEvent?.type ?? "";
    return name.startsWith("live:") ? name : null;
  };

  function failed(event) {
    const missed = liveTrigger(event);
    if (missed) return missedHints.add(missed);
    if (event.detail.elt.matches("[data-autosave]")) return; // its save state tells
    toast(reason(event.detail.xhr), "error");
  }
  ["htmx:responseError", "htmx:sendError", "htmx:timeout"].forEach((name) => on(name, failed));

  // ------------------------------------------------------------------ autosave

  const SAVE_AGAIN_MS = 5000;
  const saves = new WeakMap(); // form -> {typed, sent, retry}: how many inputs there were, how many the last save held
  const saveOf = (form) => saves.get(form) ?? saves.set(form, { typed: 0, sent: 0, retry: 0 }).get(form);

  /** Shows how a form is saved; without a text it is saved, or there is nothing to save. */
  function showSave(form, state, text) {
    const places = [...$$("[data-save-state]", form), ...(form.id ? $$(`[data-save-state="#${form.id}"]`) : [])];
    for (const place of places) {
      place.dataset.state = state;
      const told = text ?? ($("#discard") ? "Saved" : place.dataset.clean);
      if (place.textContent !== told) place.textContent = told;
    }
  }

  const saveNow = (form) => form.isConnected && htmx.trigger(form, "save");
  const autosaved = (event) => (event.detail.elt.matches?.("form[data-autosave]") ? event.detail.elt : null);

  const KEEPALIVE_BYTES = 60_000; // browsers refuse a little more

  /** Sends what a form holds in a request that outlives the page; false where that cannot be relied on. */
  function saveOnTheWay(form) {
    if (!form.matches("[data-autosave]") || saveOf(form).failed || !navigator.onLine) return false;
    const body = new URLSearchParams(new FormData(form)).toString();
    if (body.length > KEEPALIVE_BYTES) return false;
    const headers = { "Content-Type": "application/x-www-form-urlencoded", "X-CSRFToken": cookie("csrftoken") ?? "" };
    fetch(form.getAttribute("hx-post"), { method: "POST", body, headers, keepalive: true }).catch(() => {});
    return true;
  }

  // A phone may end a page in the background without asking. (A page that is left is hidden, too, after `pagehide`.)
  let gone = false;
  window.addEventListener("pagehide", () => (gone = true));
  window.addEventListener("pageshow", () => (gone = false));
  on("visibilitychange", () => {
    if (gone || document.visibilityState !== "hidden") return;
    for (const form of $$("form[data-autosave]")) if (dirty.has(form)) saveNow(form);
  });
  on("click", (event) => {
    const form = $(event.target.closest("[data-overwrite]")?.dataset.overwrite ?? "#none");
    if (!form) return;
    form.elements.overwrite.value = "1";
    dirty.add(form);
    saveNow(form);
  });

  on("input", (event) => {
    const form = event.target.form;
    if (!form?.matches("[data-autosave]")) return;
    saveOf(form).typed += 1;
    showSave(form, "waiting", "Not saved yet");
  });
  on("htmx:beforeRequest", (event) => {
    const form = autosaved(event);
    if (!form) return;
    const save = saveOf(form);
    if (!dirty.has(form)) {
      // Nothing new: a field that is merely left needs no request, whose answer would replace what is being pressed.
      event.preventDefault();
      return showSave(form, "saved");
    }
    if (save.conflict && !form.elements.overwrite.value) {
      // Asking again would replace the very buttons with which to choose.
      event.preventDefault();
      return showSave(form, "failed", save.conflict);
    }
    save.sent = save.typed;
    clearTimeout(save.retry);
    showSave(form, "saving", "Saving…");
  });
  on("htmx:afterRequest", (event) => {
    const form = autosaved(event);
    if (!form) return;
    const save = saveOf(form);
    const { xhr } = event.detail;
    save.failed = !succeeded(xhr);
    save.conflict = "";
    if (succeeded(xhr)) {
      if (form.elements.overwrite) form.elements.overwrite.value = "";
      for (const field of form.elements) {
        if (!field.dataset.keep) continue;
        // What the server would show now; only text that was typed on top of it is worth restoring.
        field.defaultValue = event.detail.requestConfig.parameters[field.name];
        forget(field);
        if (save.sent !== save.typed) keep(field);
      }
      if (save.sent !== save.typed) return showSave(form, "waiting", "Not saved yet");
      dirty.delete(form);
      forgetKept(form);
      return showSave(form, "saved");
    }
    if (loginExpired(xhr)) return showSave(form, "failed", "Not saved: you are signed out. What you typed is kept for when you are back.");
    if (xhr.status === 409 || xhr.status === 422) {
      const told = `Not saved: ${xhr.getResponseHeader("X-Reason") ?? "see the message on this page"}`;
      if (xhr.status === 409 && form.elements.overwrite) save.conflict = told;
      return showSave(form, "failed", told);
    }
    if (xhr.status !== 0 && xhr.status < 500 && xhr.status !== 429) return showSave(form, "failed", `Not saved: ${reason(xhr)}`);
    const why = xhr.status === 0 ? "the server could not be reached" : `the server had an error (${xhr.status})`;
    showSave(form, "failed", `Not saved: ${why}. What you typed is still here; trying again.`);
    save.retry = setTimeout(saveNow, SAVE_AGAIN_MS, form);
  });

  // ------------------------------------------------------------------ live: socket, connection chip, hints

  const RETRY_MS = [100, 300, 700, 1200, 2000]; // then always the last; each with up to 30% more at random
  const TOO_MANY_PAGES = 4429; // the close code for a person who has more pages open than the server allows
  const FULL_RETRY_MS = 30000;
  const CHIP_AFTER_MS = 700; // a page that is being left, or a blink of the net, shows nothing
  const HEADS = ["revision", "audit", "runs"]; // counters of the server, which the body's data- attributes hold
  const missedHints = new Set(); // hints whose refresh failed; given again when the connection is back
  let socket = null;
  let reconnect = null;
  let attempts = 0;
  let retryTimer = 0;
  let chipTimer = 0;
  let signedOut = false;

  function setUpSocket() {
    // The extension gives up after a clean close and its waiting cannot be cut short, so reconnecting is done here:
    // its own retry is put off for as long as a timer can wait.
    htmx.config.wsReconnectDelay = () => 2 ** 31 - 1;
    htmx.createWebSocket = (url) => (socket = new WebSocket(url));
  }

  function showConnection(lost) {
    clearTimeout(chipTimer);
    const chip = $("#connection");
    if (!chip) return;
    if (lost) chipTimer = setTimeout(() => (chip.hidden = false), CHIP_AFTER_MS);
    else chip.hidden = true;
  }

  function tryAgainNow() {
    if (!reconnect || signedOut || socket.readyState <= WebSocket.OPEN) return;
    clearTimeout(retryTimer);
    reconnect();
  }

  on("htmx:wsOpen", (event) => {
    reconnect = event.detail.socketWrapper.reconnect;
    attempts = 0;
    showConnection(false);
    // The server tells the newest numbers of most things now; a comparison has none, and may have gone on meanwhile.
    if (listens(document.body, "live:comparison")) missedHints.add("live:comparison");
    giveMissedHints();
    const template = $("[data-here]")?.dataset.here; // others are shown who has this template open
    // Parts that the server sends with a hint; it sends at once what changed since they were rendered.
    const shown = Object.fromEntries($$("[data-fragment]").map(({ dataset }) => [dataset.fragment, dataset.version]));
    socket.send(JSON.stringify({ action: "here", template, shown }));
    $$("form[data-autosave]").forEach((form) => dirty.has(form) && saveNow(form));
  });
  on("htmx:wsClose", (event) => {
    reconnect = event.detail.socketWrapper.reconnect;
    if (event.detail.event.target !== socket || signedOut) return; // one that was replaced already
    showConnection(true);
    // The server cancels the runs of a page that is gone; nothing more will come for them.
    for (const running of $$("[data-running]")) {
      const place = running.closest("[data-starting]");
      if (place?.dataset.starting === "waiting") continue; // it is sent when the connection is back
      delete running.dataset.running;
      running.textContent = `The connection was lost, so this run was canceled. ${place ? "If it had begun, it" : "It"} is kept under Runs.`;
      delete place?.dataset.starting;
    }
    const tooMany = event.detail.event.code === TOO_MANY_PAGES;
    const wait = tooMany ? FULL_RETRY_MS : RETRY_MS[Math.min(attempts, RETRY_MS.length - 1)];
    attempts += 1;
    clearTimeout(retryTimer);
    retryTimer = setTimeout(tryAgainNow, wait * (1 + 0.3 * Math.random()));
  });
  window.addEventListener("offline", () => showConnection(true));
  window.addEventListener("online", () => {
    socket?.close(); // it may be dead without knowing
    tryAgainNow();
  });
  on("visibilitychange", () => document.visibilityState === "visible" && tryAgainNow());

  function giveMissedHints() {
    const names = [...missedHints];
    missedHints.clear();
    names.forEach((name) => document.body.dispatchEvent(new CustomEvent(name)));
  }
  setInterval(giveMissedHints, 5000);

  on("htmx:wsBeforeMessage", (event) => {
    const { message } = event.detail;
    if (typeof message !== "string" || !message.startsWith("{")) {
      // HTML, which htmx swaps; what it replaces may be gone with a panel that was closed meanwhile.
      const id = /^\s*<\w+ id="([\w-]+)"/.exec(message)?.[1];
      // The last words of a run do not belong to the next one, which has begun in its place.
      const into = /^\s*<\w+ hx-swap-oob="\w+:#([\w-]+)"/.exec(message)?.[1];
      if ((id && !document.getElementById(id)) || document.getElementById(into)?.closest("[data-starting]")) event.preventDefault();
      return;
    }
    event.preventDefault();
    receive(JSON.parse(message));
  });

  // What somebody presses or marks with the pointer is not replaced in that moment: the click would be lost.
  let under = null;
  on("pointerdown", ({ target }) => (under = target), true);
  for (const end of ["pointerup", "pointercancel", "dragend"]) {
    on(end, () => {
      under = null;
      setTimeout(giveMissedHints); // after the click
      setTimeout(showPressedParts);
    }, true);
  }
  on("htmx:beforeSwap", (event) => {
    const missed = liveTrigger(event);
    if (!missed || !under || !event.detail.target.contains(under)) return;
    event.detail.shouldSwap = false;
    missedHints.add(missed);
  });

  // What is asked for before a hint comes may be shown after it, and does not know of it then: it hears the hint again.
  const heardAt = new Map(); // name of a hint -> when it came
  const listens = (root, name) => root.matches?.(`[hx-trigger*="${name} "]`) || $(`[hx-trigger*="${name} "]`, root);
  on("htmx:beforeRequest", ({ detail }) => (detail.xhr.begun = performance.now()));
  on("htmx:afterSettle", ({ target, detail }) => {
    for (const [name, at] of heardAt) {
      if (at > detail.xhr?.begun && listens(target, name)) document.body.dispatchEvent(new CustomEvent(name));
    }
  });

  const partsUnderPointer = new Map(); // id -> what came for a part while the pointer was down on it

  /** Replaces parts of the page by those of the same id in `html`, which the server sent with a hint. */
  function showParts(html) {
    const parsed = document.createElement("template");
    parsed.innerHTML = html;
    for (const part of parsed.content.children) {
      const old = document.getElementById(part.id);
      if (old && under && old.contains(under)) partsUnderPointer.set(part.id, part.outerHTML);
      else if (old) {
        partsUnderPointer.delete(part.id);
        document.body.dispatchEvent(new CustomEvent("promptops:beforeShow", { bubbles: true }));
        htmx.swap(old, part.outerHTML, { swapStyle: "outerHTML", settleDelay: 0, swapDelay: 0 });
      }
    }
  }

  function showPressedParts() {
    for (const part of [...partsUnderPointer.values()]) showParts(part);
  }

  /** One hint of the server. The numbers of revision, audit and runs only ever grow; what is not newer is no news. */
  function receive(hint) {
    const body = document.body;
    if (hint.event === "reload") {
      if (hasUnsaved()) toast("Your role was changed. Save what you are writing, then reload this page.", "warning");
      else location.reload();
      return;
    }
    if (hint.event === "signed_out") {
      return toSignIn(`${signIn}?next=${encodeURIComponent(location.pathname + location.search)}`);
    }
    if (hint.event === "fragment") return showParts(hint.html);
    if (hint.event === "refused") return takeBackStarted(hint.place);
    if (HEADS.includes(hint.event)) {
      if (Number(hint.number) <= Number(body.dataset[hint.event])) return;
      body.dataset[hint.event] = hint.number;
    }
    if (!hint.spread) return tellParts(hint);
    // With many pages open, not all of them fetch in the same moment; a page that is about to needs no second reason.
    const name = HEADS.includes(hint.event) ? hint.event : `${hint.event} ${hint.number}`; // other numbers are ids
    const waits = spreading.has(name);
    spreading.set(name, hint);
    if (waits) return;
    setTimeout(() => {
      const newest = spreading.get(name);
      spreading.delete(name);
      tellParts(newest);
    }, Math.random() * hint.spread);
  }

  const spreading = new Map(); // hints whose fetching waits

  function tellParts(hint) {
    const body = document.body;
    heardAt.set(`live:${hint.event}`, performance.now());
    body.dispatchEvent(new CustomEvent(`live:${hint.event}`, { detail: hint }));
    if (hint.event === "presence") body.dispatchEvent(new CustomEvent(`live:presence-${hint.number}`));
  }

  // ------------------------------------------------------------------ runs: the page answers the click itself

  // data-starts names a template with what stands in a run's place until the server says more of it. What stood there
  // before comes back when the server refuses the run.
  const before = new WeakMap();

  on("htmx:wsConfigSend", (event) => {
    const { target: form, detail } = event;
    if (detail.errors?.length) return;
    if (form.elements.action?.value === "cancel") $("button", form)?.setAttribute("aria-busy", "true");
    const starts = $(form.dataset.starts ?? "#none");
    if (!starts) return;
    const starting = starts.content.firstElementChild.cloneNode(true);
    detail.parameters.place = starting.id; // the server names it when it refuses
    const place = document.getElementById(starting.id);
    if (!place.dataset.starting) before.set(place, { shown: [...place.childNodes], running: "running" in place.dataset });
    place.replaceChildren(...starting.childNodes);
    place.toggleAttribute("data-running", "running" in starting.dataset);
    place.dataset.starting = socket?.readyState === WebSocket.OPEN ? "sent" : "waiting"; // for the connection
    htmx.process(place);
  });
  on("htmx:oobAfterSwap", (event) => delete event.detail.target?.dataset.starting);

  /** Takes back what was begun at the place with this id; everywhere when the server could not even read where. */
  function takeBackStarted(id) {
    for (const place of $$("[data-starting]")) {
      if (id && place.id !== id) continue;
      const { shown, running } = before.get(place);
      place.replaceChildren(...shown);
      place.toggleAttribute("data-running", running);
      delete place.dataset.starting;
    }
  }

  // ------------------------------------------------------------------ command bar

  const bar = $("#commands");
  if (bar) {
    const input = $("input", bar);
    const options = $$("[role=option]", bar);
    const shown = () => options.filter((option) => !option.hidden);
    const select = (option) => {
      options.forEach((other) => other.setAttribute("aria-selected", other === option));
      if (option) input.setAttribute("aria-activedescendant", option.id);
      else input.removeAttribute("aria-activedescendant");
      option?.scrollIntoView({ block: "nearest" });
    };
    const filter = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const option of options) {
        const text = option.textContent.toLowerCase();
        option.hidden = !words.every((word) => text.includes(word));
      }
      $(".none", bar).hidden = shown().length > 0;
      const search = $("[data-search]", bar);
      search.href = search.dataset.search + encodeURIComponent(input.value.trim());
      select(shown()[0]);
    };
    input.addEventListener("input", filter);
    bar.addEventListener("keydown", (event) => {
      const list = shown();
      const at = list.findIndex((option) => option.getAttribute("aria-selected") === "true");
      const move = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: list.length - 1 }[event.key];
      if (move !== undefined && list.length) {
        event.preventDefault();
        select(list[(move + list.length) % list.length]);
      }
      if (event.key === "Enter" && event.target === input) (list[at] ?? $("[data-search]", bar)).click();
    });
    bar.addEventListener("opened", () => {
      input.value = "";
      filter();
      input.focus();
    });
  }

  // ------------------------------------------------------------------ keyboard

  const SEQUENCE_MS = 1200;
  let firstKey = "";
  let firstKeyAt = 0;
  const isTyping = (target) => target.closest?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
  const visible = (selector) => $$(selector, $("dialog[open]") ?? document).find((element) => element.checkVisibility());

  on("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || event.altKey) return;
    if (event.ctrlKey || event.metaKey) {
      const action = { k: commandBar, s: save, Enter: run }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (action && !event.shiftKey && action()) event.preventDefault();
      return;
    }
    if (isTyping(event.target) || $("dialog[open]")) return;
    if (event.key === "?") return openDialog($("#shortcuts"));
    if (inRows(event.key) || pressed(event)) return event.preventDefault();
    const both = `${firstKey} ${event.key}`;
    const link = performance.now() - firstKeyAt < SEQUENCE_MS && $(`[data-key="${CSS.escape(both)}"]`);
    firstKey = link ? "" : event.key;
    firstKeyAt = performance.now();
    // A key that is held down votes once.
    const button = !event.repeat && $(`[data-single-key="${CSS.escape(event.key.toLowerCase())}"]`);
    (link || button)?.click?.();
  });

  /** A link or button that one key presses (data-press, several with spaces between). Arrows scroll what has the focus. */
  function pressed({ key, target, shiftKey }) {
    if (shiftKey || (key.startsWith("Arrow") && ![document.body, $("#main")].includes(target))) return false;
    const found = $(`[data-press~="${CSS.escape(key)}"]`);
    found?.click();
    return Boolean(found);
  }

  /** In a table whose rows are read one by one: j and k go through them, e expands one, o opens it. */
  function inRows(key) {
    const rows = $$("[data-rows] > [data-row]");
    if (!rows.length || !["j", "k", "e", "o"].includes(key)) return false;
    const at = rows.indexOf(document.activeElement.closest("[data-row]"));
    if (key === "j" || key === "k") {
      const row = rows[Math.max(0, Math.min(rows.length - 1, at < 0 ? 0 : at + (key === "j" ? 1 : -1)))];
      row.focus({ preventScroll: true });
      row.scrollIntoView({ block: "nearest" });
    } else $(key === "e" ? "[data-expand]" : "[data-open-row]", rows[Math.max(0, at)])?.click();
    return true;
  }

  on("click", (event) => {
    const button = event.target.closest("[data-expand]");
    if (!button) return;
    const open = button.closest("[data-row]").classList.toggle("expanded");
    button.setAttribute("aria-expanded", open);
  });
  on("click", (event) => event.target.closest("[data-print]") && print());

  // A list does not move under who reads it: what is new is only counted then. Looked at when the request is made and again
  // when its answer is here, since a reader may have come after the hint that caused it.
  const movesUnasked = (element) => element.hidden && element.closest("[data-news]") && $("#list").matches(":hover, :focus-within");
  on("htmx:configRequest", ({ target, detail }) => {
    if (movesUnasked(target)) detail.parameters.news = "count";
  });
  on("htmx:beforeSwap", ({ detail }) => {
    const { elt, parameters } = detail.requestConfig;
    if (!detail.shouldSwap || parameters.news !== "rows" || !movesUnasked(elt)) return;
    detail.shouldSwap = false;
    htmx.ajax("GET", elt.getAttribute("hx-get"), { source: elt });
  });

  function commandBar() {
    if (!bar) return false;
    if (bar.open) bar.close();
    else if (!$("dialog[open]")) openDialog(bar);
    return true;
  }
  function run() {
    const button = visible("[data-run]");
    if (button && !button.disabled) button.click();
    return Boolean(button);
  }
  function save() {
    const button = visible("[data-save]");
    const form = $("form[data-autosave]");
    if (button) button.click();
    else if (form) saveNow(form);
    return Boolean(button || form);
  }

  // ------------------------------------------------------------------ copy

  on("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    const source = button && $(button.dataset.copy);
    if (!source) return;
    try {
      await navigator.clipboard.writeText(source.value ?? source.textContent);
      toast("Copied.", "success");
    } catch {
      toast("The browser did not allow copying. Select the text and copy it yourself.", "warning");
    }
  });

  // ------------------------------------------------------------------ reorder: drag, or Alt and the arrows on the handle

  const isItem = (list) => (element) => element.parentElement === list;
  const place = (item) => [...item.parentElement.children].indexOf(item);
  const movable = (target) => {
    const list = target.closest?.("[data-handle]")?.closest("[data-reorder]");
    let item = list && target;
    while (item && !isItem(list)(item)) item = item.parentElement;
    return item || null;
  };

  function told(item) {
    const name = item.dataset.label ?? item.textContent.trim().slice(0, 40);
    announce(`${name}: position ${place(item) + 1} of ${item.parentElement.children.length}`);
    item.parentElement.dispatchEvent(new CustomEvent("reordered", { bubbles: true }));
  }

  on("keydown", (event) => {
    const step = event.altKey && { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const item = step && movable(event.target);
    if (!item) return;
    event.preventDefault();
    const other = step < 0 ? item.previousElementSibling : item.nextElementSibling;
    if (!other) return announce(step < 0 ? "It is the first already." : "It is the last already.");
    if (step < 0) other.before(item);
    else other.after(item);
    $("[data-handle]", item).focus(); // moving an element takes the focus from it
    told(item);
  });

  on("pointerdown", (event) => {
    const item = event.button === 0 && movable(event.target);
    if (!item) return;
    event.preventDefault();
    $("[data-handle]", item).focus();
    const start = place(item);
    const startedBefore = item.nextElementSibling;
    const stop = new AbortController();
    const listen = (name, handler) => on(name, handler, { signal: stop.signal });
    const end = (keep) => {
      stop.abort();
      item.classList.remove("dragging");
      document.body.classList.remove("is-dragging");
      if (!item.isConnected) return; // the list was replaced meanwhile
      if (!keep) item.parentElement.insertBefore(item, startedBefore);
      $("[data-handle]", item).focus();
      if (place(item) !== start) told(item);
    };
    item.classList.add("dragging");
    document.body.classList.add("is-dragging");
    listen("pointermove", ({ clientY }) => {
      const middle = (element) => element.getBoundingClientRect().top + element.offsetHeight / 2;
      while (item.previousElementSibling && clientY < middle(item.previousElementSibling)) item.previousElementSibling.before(item);
      while (item.nextElementSibling && clientY > middle(item.nextElementSibling)) item.nextElementSibling.after(item);
    });
    listen("pointerup", () => end(true));
    listen("pointercancel", () => end(false));
    listen("keydown", (key) => key.key === "Escape" && end(false));
  });

  // ------------------------------------------------------------------ start, and again for what htmx swaps in

  /** What scrolls has to be reachable without a pointer. */
  function letScroll() {
    for (const box of $$(".table-wrap, .boxed, .scroll")) {
      const scrolls = box.scrollHeight > box.clientHeight + 1 || box.scrollWidth > box.clientWidth + 1;
      if (scrolls && !$("a, button, input, select, textarea, summary", box)) box.tabIndex = 0;
    }
  }
  window.addEventListener("resize", letScroll);
  document.addEventListener("toggle", letScroll, true); // a <details> that opens; the event does not bubble

  function refresh(root) {
    showTimes(root);
    showCounts();
    restoreKept(root);
    letScroll();
    if (apple) for (const key of $$("[data-mod-key]", root)) key.textContent = `⌘ ${key.dataset.modKey}`;
  }

  /** What was typed before this script ran is input, too; but not what a browser puts back on the way back. */
  function tellEarly() {
    if (performance.getEntriesByType("navigation")[0]?.type !== "navigate") return;
    for (const field of $$(KEPT).filter(isKept)) {
      const early = field.form && !dirty.has(field.form) && field.value !== field.defaultValue;
      if (early) field.dispatchEvent(new Event("input", { bubbles: true }));
    }
  }

  function giveFocusBack() {
    const { path, opener } = stored(FOCUS) ?? {};
    storage((s) => s.removeItem(FOCUS));
    if (path === location.pathname) ($(opener || "#none") ?? $("textarea.editor"))?.focus({ preventScroll: true });
  }

  settleSent();
  giveFocusBack();
  if (window.htmx) {
    setUpSocket();
    htmx.onLoad((element) => {
      if (!element.isConnected) return;
      refresh(element.parentElement ?? element);
      if (element === document.body) tellEarly();
    });
  }
  // What is fetched anew stays as its reader left it: where a box was scrolled to, whether a <details> was open.
  for (const [before, after] of [["htmx:beforeSwap", "htmx:afterSwap"], ["promptops:beforeShow", "htmx:afterSwap"], ["htmx:oobBeforeSwap", "htmx:oobAfterSwap"]]) {
    let scrolledTo = null; // until something is about to change
    let opened = {};
    on(before, () => {
      scrolledTo = Object.fromEntries($$("[data-keep-scroll]").map((box) => [box.id, box.scrollTop]));
      opened = Object.fromEntries($$("details[id]").map((one) => [one.id, one.open]));
    });
    on(after, () => {
      if (!scrolledTo) return;
      for (const box of $$("[data-keep-scroll]")) box.scrollTop = scrolledTo[box.id] ?? 0;
      for (const one of $$("details[id]")) one.open = opened[one.id] ?? one.open;
      scrolledTo = null;
    });
  }
  on("htmx:oobAfterSwap", (event) => refresh(event.detail.target?.parentElement ?? document));
  showTimes();
  showCounts();
  letScroll();
  $(".side [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  for (const tabs of $$(".tabs")) tabs.scrollLeft = ($("[aria-current]", tabs)?.offsetLeft ?? 0) - tabs.offsetLeft; // across only

  window.promptops = { toast, announce };
})();
