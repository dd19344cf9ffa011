// What a person used last in the command bar: ids such as "template:4", newest first, in the browser's storage.

const MOST = 30;

const name = () => `recent:${document.body.dataset.user}`;

export function recent() {
  try {
    return JSON.parse(localStorage.getItem(name()) ?? "[]");
  } catch {
    return []; // storage may be turned off, or hold something else
  }
}

export function remember(id) {
  const ids = [id, ...recent().filter((other) => other !== id)].slice(0, MOST);
  try {
    localStorage.setItem(name(), JSON.stringify(ids));
  } catch {
    // Without storage, the order is that of the list.
  }
}
