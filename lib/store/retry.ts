/** Doing something again that failed for a while. */
import { setTimeout as sleep } from 'node:timers/promises';

/** How often, and how far apart. */
export interface RetryPolicy {
  /** Attempts in all, at least 1. */
  readonly attempts: number;
  /** The longest wait before the second attempt, milliseconds; it doubles with every further one. */
  readonly baseMs: number;
  /** The longest wait of all, milliseconds. */
  readonly capMs: number;
}

/**
 * Tries until it works, fails for good, or the attempts are used up; then the last error is thrown. Between attempts it
 * waits a random part of an exponentially growing time ("full jitter"), so that clients which failed together do not
 * come back together.
 *
 * @param worthRetrying whether another attempt could help
 * @param ref false: waiting does not keep the process alive
 * @throws AbortError once the signal is aborted while it waits
 */
export async function retry<T>(
  attempt: () => Promise<T>,
  policy: RetryPolicy,
  worthRetrying: (error: unknown) => boolean,
  signal: AbortSignal | undefined,
  ref = true,
): Promise<T> {
  for (let made = 1; ; made++) {
    try {
      return await attempt();
    } catch (error) {
      if (made >= policy.attempts || !worthRetrying(error)) throw error;
    }
    const longest = Math.min(policy.capMs, policy.baseMs * 2 ** (made - 1));
    await sleep(Math.random() * longest, undefined, { ref, ...(signal && { signal }) });
  }
}
