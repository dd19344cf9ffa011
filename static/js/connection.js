// The connection of the page to the server: one socket of htmx's extension, reconnected when it is lost, and the
// chip that says so. live.js reads the messages.

import { $, $$, on } from "./dom.js";
import { saveUnsaved } from "./drafts.js";
import { giveMissed, listens, miss } from "./hints.js";
import { isSignedOut } from "./leaving.js";
import { retryDelay } from "./protocol.js";

/** Names this page, so that the server does not count it twice after a reconnect. */
const PAGE = Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(16)).join("");
const CHIP_AFTER_MS = 700; // a page that is being left, or a short interruption, shows nothing

let socket = null;
let reconnect = null;
let attempts = 0;
let retryTimer = 0;
let chipTimer = 0;

export const isOpen = () => socket?.readyState === WebSocket.OPEN;

/** Return whether a close event means that the page has no connection now. */
export const isLost = (event) => event.detail.event.target === socket && !isSignedOut(); // not an old socket

/** Let this module open and reopen the socket.
 *
 * The extension gives up after a clean close, and its delay cannot be cut short. So its own retry is postponed for
 * as long as a timer can wait.
 */
export function takeOverSocket() {
  htmx.config.wsReconnectDelay = () => 2 ** 31 - 1;
  htmx.createWebSocket = (url) => (socket = new WebSocket(url));
}

function showConnection(isConnected) {
  clearTimeout(chipTimer);
  const chip = $("#connection");
  if (!chip) return;
  if (isConnected) chip.hidden = true;
  else chipTimer = setTimeout(() => (chip.hidden = false), CHIP_AFTER_MS);
}

function tryAgainNow() {
  if (!reconnect || isSignedOut() || socket.readyState <= WebSocket.OPEN) return;
  clearTimeout(retryTimer);
  reconnect();
}

function onOpen(event) {
  reconnect = event.detail.socketWrapper.reconnect;
  attempts = 0;
  showConnection(true);
  // The server now sends the newest counters. A comparison has none, and may have changed since.
  if (listens(document.body, "live:comparison")) miss("live:comparison");
  giveMissed();
  const template = $("[data-here]")?.dataset.here; // other people see who has this template open
  // Parts that the server sends with a hint; it sends those at once that have changed since they were rendered.
  const shown = Object.fromEntries($$("[data-fragment]").map(({ dataset }) => [dataset.fragment, dataset.version]));
  const fleet = $("#fleet-count")?.dataset.picture; // the server sends a hint if servers have changed since
  socket.send(JSON.stringify({ action: "here", template, shown, fleet, page: PAGE }));
  saveUnsaved();
}

function onClose(event) {
  reconnect = event.detail.socketWrapper.reconnect;
  if (!isLost(event)) return;
  showConnection(false);
  const delay = retryDelay(attempts, event.detail.event.code, Math.random());
  attempts += 1;
  clearTimeout(retryTimer);
  retryTimer = setTimeout(tryAgainNow, delay);
}

export function startConnection() {
  on("htmx:wsOpen", onOpen);
  on("htmx:wsClose", onClose);
  window.addEventListener("offline", () => showConnection(false));
  window.addEventListener("online", () => {
    socket?.close(); // it may be dead without a close event
    tryAgainNow();
  });
  on("visibilitychange", () => document.visibilityState === "visible" && tryAgainNow());
}
