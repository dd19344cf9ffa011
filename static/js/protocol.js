// The rules of the socket: when to reconnect, what a message is for, which hints are news. Pure: no socket, no
// document.

const RETRY_MS = [100, 300, 700, 1200, 2000]; // then always the last value
const TOO_MANY_PAGES = 4429; // the close code for a person who has more pages open than the server allows
const FULL_RETRY_MS = 30_000;
const HEADS = ["revision", "audit", "runs"]; // counters of the server, which the body's data- attributes hold

/** Return how long to wait before connecting again, in milliseconds; `random` (0 to 1) adds up to 30%. */
export function retryDelay(attempts, closeCode, random) {
  const wait = closeCode === TOO_MANY_PAGES ? FULL_RETRY_MS : RETRY_MS[Math.min(attempts, RETRY_MS.length - 1)];
  return wait * (1 + 0.3 * random);
}

export const isHint = (message) => typeof message === "string" && message.startsWith("{");

/** Return the ids that HTML of the server is for: of the element it replaces, of the element it is added to. */
export function htmlTargets(message) {
  return {
    replaces: /^\s*<\w+ id="([\w-]+)"/.exec(message)?.[1],
    addsTo: /^\s*<\w+ hx-swap-oob="\w+:#([\w-]+)"/.exec(message)?.[1],
  };
}

export const isHead = ({ event }) => HEADS.includes(event);

/** Return whether a hint is from another line of history than the page: a backup was restored meanwhile. */
export const isOfOtherEpoch = ({ epoch }, shown) => Boolean(epoch && shown.epoch && epoch !== shown.epoch);

/** Let the page take any number of the epoch as news. */
export function startEpoch(epoch, shown) {
  shown.epoch = epoch;
  for (const head of HEADS) shown[head] = -1;
}

/** Return whether a hint is older than what the page shows. Numbers of other hints are ids, which have no order. */
export const isOld = (hint, shown) => isHead(hint) && Number(hint.number) <= Number(shown[hint.event]);

/** Return the name under which hints of the same thing wait together. */
export const hintName = (hint) => (isHead(hint) ? hint.event : `${hint.event} ${hint.number}`);

/** Return the event types by which parts of a page hear of a hint; parts may listen for one person's presence. */
export function eventsOf({ event, number }) {
  return event === "presence" ? ["live:presence", `live:presence-${number}`] : [`live:${event}`];
}
