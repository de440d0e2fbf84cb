/** Keeping secrets out of what is printed. */

/** A URL without what may be a secret: what stands before an `@`, behind a `?` or a `#`. */
export function redactUrl(url: string): string {
  const colon = url.indexOf(':');
  const scheme = /^:\/*/.exec(url.slice(colon))?.[0] ?? '';
  const start = colon + scheme.length;
  // The last one: a password can have any character.
  const at = url.lastIndexOf('@');
  const user = colon >= 0 && at >= start ? `${url.slice(0, start)}***${url.slice(at)}` : url;
  return user.replace(/([?#]).+$/s, '$1***');
}

/** A text of somebody else's: a URL without its secrets, anything else as it is. */
export function redact(text: string): string {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? redactUrl(text) : text;
}
