/** Steps that are all done or all undone. */
import { tracingChannel } from 'node:diagnostics_channel';
import { throwIfAborted } from './abort.js';

/** Every step of a create, attach or delete, as it happens: the context is `{ step }`. */
const trace = tracingChannel('overns.step');

/** Runs a step that is not undone, so that it is told of like the others. */
export async function traced<T>(step: string, run: () => Promise<T>): Promise<T> {
  return trace.tracePromise(run, { step });
}

/**
 * Runs steps in order and remembers how to undo each; on the first failure, or when the signal is aborted, everything
 * done so far is undone in reverse.
 */
export class Transaction {
  readonly #signal: AbortSignal | undefined;
  readonly #undo: { readonly step: string; readonly run: () => Promise<unknown> | unknown }[] = [];

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
  }

  /** One step. `undo` gets what `run` gave; it is called only if a later step fails, and must not need the signal. */
  async step<T>(step: string, run: () => Promise<T>, undo?: (value: T) => Promise<unknown> | unknown): Promise<T> {
    throwIfAborted(this.#signal);
    const value = await trace.tracePromise(run, { step });
    if (undo) this.#undo.push({ step, run: () => undo(value) });
    throwIfAborted(this.#signal);
    return value;
  }

  /** Undoes what was done, last first, and gives the error to throw: the cause, with what could not be undone. */
  async rollback(cause: unknown): Promise<unknown> {
    const left: string[] = [];
    for (const { step, run } of this.#undo.reverse()) {
      try {
        await run();
      } catch (error) {
        if (!isGone(error)) left.push(`${step} (${(error as Error).message})`);
      }
    }
    this.#undo.length = 0;
    if (left.length > 0 && cause instanceof Error) cause.message += `; could not be undone: ${left.join(', ')}`;
    return cause;
  }
}

/** True for an error that says the thing is gone already: a name, or a link with its namespace. */
function isGone(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code === 'ENOENT' || code === 'ENODEV';
}

/** Runs `body` as one transaction. */
export async function transaction<T>(
  signal: AbortSignal | undefined,
  body: (t: Transaction) => Promise<T>,
): Promise<T> {
  const steps = new Transaction(signal);
  try {
    return await body(steps);
  } catch (error) {
    throw await steps.rollback(error);
  }
}
