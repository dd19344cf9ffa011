// Values as people read them: times and sizes of texts. Pure: no document, no clock.
//
// promptops/texts/formats.py has the same rules; tests/data/formats.json has cases for both.

const [MINUTE, HOUR, DAY] = [60, 3600, 86400];
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
const twoDigits = (number) => String(number).padStart(2, "0");

/** Return the distance of the reader's zone from UTC: "UTC", "UTC+1", "UTC-3:30". */
export function zone(moment) {
  const minutes = -moment.getTimezoneOffset();
  if (!minutes) return "UTC";
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `UTC${minutes > 0 ? "+" : "-"}${hours}${rest ? `:${twoDigits(rest)}` : ""}`;
}

const date = (moment) => `${moment.getDate()} ${MONTHS[moment.getMonth()]} ${moment.getFullYear()}`;

/** Return a moment to the second in the reader's zone, which is named: "22 Nov 2026, 14:32:05 UTC+1". */
export function exactTime(moment) {
  const time = [moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(twoDigits).join(":");
  return `${date(moment)}, ${time} ${zone(moment)}`;
}

/** Return how long ago `moment` was, as of `now` (both in milliseconds or dates). */
export function relativeTime(moment, now) {
  const seconds = (now - moment) / 1000;
  const size = Math.abs(seconds);
  if (size < 45) return "just now";
  if (size >= 30 * DAY) return date(new Date(moment));
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
