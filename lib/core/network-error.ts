/** Failures of Node's sockets and its TLS, in words. */

/**
 * The reason of OpenSSL's line (`B0...:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../file.c:354:`),
 * else the message in one line.
 */
export function networkWords(error: Error): string {
  const { code, message, name } = error as NodeJS.ErrnoException;
  const reason = /\berror:[0-9A-F]{8}:[^:]*:[^:]*:([^:\n]+)/.exec(message)?.[1];
  if (reason !== undefined) return `TLS failed: ${reason}`;
  // An AggregateError, of a name with several addresses, has no message.
  return (message || code || name).trim();
}
