// Answers of the server to an XMLHttpRequest: accepted, refused, signed out, and each failure as a sentence.

import { signInPage } from "./dom.js";

const REASONS = {
  0: "The server could not be reached. Your text is still here.",
  403: "You signed in again in another tab. Your text is still here. Reload the page and try again.",
  404: "This no longer exists. Reload the page.",
  413: "The text is too long for the server. Shorten it and try again.",
  429: "There were too many requests. Wait a moment and try again.",
};

export const redirect = (xhr) => xhr.getResponseHeader("HX-Redirect") ?? "";
export const loginExpired = (xhr) => Boolean(signInPage()) && redirect(xhr).startsWith(signInPage());
export const succeeded = (xhr) => xhr.status >= 200 && xhr.status < 400 && !loginExpired(xhr);

/** Return why a request failed, as a sentence. The server may send its own as plain text. */
export function failureReason(xhr) {
  const isPlain = (xhr.getResponseHeader("Content-Type") ?? "").startsWith("text/plain");
  const sentence = isPlain && xhr.responseText.trim();
  if (sentence && sentence.length <= 300) return sentence;
  const unknown = `The server could not do this (error ${xhr.status}). Your text is still here. Try again.`;
  return REASONS[xhr.status] ?? unknown;
}

const failure = (text, more) => ({ text: `Not saved: ${text}`, isConflict: false, retries: false, ...more });

/** Return why a draft was not saved, as {text, isConflict, retries}. */
export function saveFailure(xhr) {
  const { status } = xhr;
  if (loginExpired(xhr)) return failure("you've been signed out. Your text is kept here. Sign in again.");
  if (status === 409 || status === 422) {
    return failure(xhr.getResponseHeader("X-Reason") ?? "see the message on this page", { isConflict: status === 409 });
  }
  if (status !== 0 && status < 500 && status !== 429) return failure(failureReason(xhr));
  const why = status === 0 ? "the server could not be reached" : `the server had an error (${status})`;
  return failure(`${why}. Your text is still here. Trying again…`, { retries: true });
}
