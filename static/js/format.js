// Values as people read them: times and sizes of texts. Pure: no document, no clock.

const [MINUTE, HOUR, DAY] = [60, 3600, 86400];
const DATE = { day: "numeric", month: "short", year: "numeric" };
const TIME = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
const dateOnly = new Intl.DateTimeFormat("en-GB", DATE);
const exact = new Intl.DateTimeFormat("en-GB", { ...DATE, ...TIME });
const exactWithZone = new Intl.DateTimeFormat("en-GB", { ...DATE, ...TIME, timeZoneName: "short" });

/** Return the date and time of a moment in the reader's zone, to the second. */
export const exactTime = (moment) => exact.format(moment);
export const exactTimeWithZone = (moment) => exactWithZone.format(moment);

/** Return how long ago `moment` was, as of `now` (both in milliseconds).
 *
 * `relative` in promptops/web/templatetags/ui.py has the same rule.
 */
export function relativeTime(moment, now) {
  const seconds = (now - moment) / 1000;
  const size = Math.abs(seconds);
  if (size < 45) return "just now";
  if (size >= 30 * DAY) return dateOnly.format(moment);
  const amount = amountOf(size);
  return seconds > 0 ? `${amount} ago` : `in ${amount}`;
}

function amountOf(seconds) {
  if (seconds < 45 * MINUTE) return `${Math.max(1, Math.round(seconds / MINUTE))} min`;
  if (seconds < 22 * HOUR) return `${Math.max(1, Math.round(seconds / HOUR))} h`;
  const days = Math.max(1, Math.round(seconds / DAY));
  return days === 1 ? "1 day" : `${days} days`;
}

/** Return a time that is left, in milliseconds, to the second below an hour: "1 h 5 min", "14 min 2 s", "9 s". */
export function timeLeft(milliseconds) {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  if (seconds >= HOUR) return `${Math.floor(seconds / HOUR)} h ${Math.floor((seconds % HOUR) / MINUTE)} min`;
  if (seconds >= MINUTE) return `${Math.floor(seconds / MINUTE)} min ${seconds % MINUTE} s`;
  return `${seconds} s`;
}

/** Return a number of things: "1 token", "1,200 tokens". */
export const counted = (count, noun) => `${count.toLocaleString("en-US")} ${noun}${count === 1 ? "" : "s"}`;

/** Return the size of a text. Tokens are UTF-8 bytes / 4, rounded up, as in promptops.platform.text.estimate_tokens. */
export function textSize(text) {
  const tokens = Math.ceil(new TextEncoder().encode(text).length / 4);
  return `${counted([...text].length, "character")}, about ${counted(tokens, "token")}`;
}
