// The browser's storage for this tab (sessionStorage) and its cookies: names, reading, writing.
// Storage may be turned off or full. Then reading returns null and writing does nothing: the page still works.

function attempt(action) {
  try {
    return action(sessionStorage);
  } catch {
    return null;
  }
}

export const read = (name) => attempt((storage) => storage.getItem(name));
export const readJson = (name) => JSON.parse(read(name) ?? "null");
export const write = (name, value) => attempt((storage) => storage.setItem(name, value));
export const writeJson = (name, value) => write(name, JSON.stringify(value));
export const remove = (name) => attempt((storage) => storage.removeItem(name));
export const clear = () => attempt((storage) => storage.clear());

/** Return the value of a cookie in a `document.cookie` line, or undefined. */
export const cookieIn = (cookies, name) =>
  cookies
    .split("; ")
    .find((cookie) => cookie.startsWith(`${name}=`))
    ?.slice(name.length + 1);
export const cookie = (name) => cookieIn(document.cookie, name);

/** Names of fields that are sent with an ordinary form and forgotten once the server has accepted them. */
export const SENT = "sent";
/** The element that gets the focus on the next page. */
export const FOCUS = "focus";

/** Return the storage name of a field's text: by data-keep, or by the address, form and name of the field. */
export const fieldPlace = ({ keep, address, form, name }) => keep ?? `${address}#${form}-${name}`;
export const keptName = (user, place) => `keep:${user}:${place}`;
/** Return the storage name of a text that was typed on top of another text than the server shows now. */
export const otherName = (name) => `other:${name}`;

/** Return the storage name of a review panel's note, by the panel's heading, such as "Roll back enhance to v3?".
 *
 * A text that is published may have another number when the panel opens again, so the name leaves that number out.
 */
export function noteName(user, path, heading) {
  const act = heading.replace(/^(Publish .* v)\d+\?$/, "$1");
  return `note:${user}:${path}:${act}`;
}
