import { getEventListeners } from 'node:events';
import { describe, expect, test, vi } from 'vitest';
import type { BoundedQueue } from '../../lib/core/bounded-queue.js';
import type { QueueOptions, Subscription } from '../../lib/core/subscription.js';
import { createSubscription } from '../../lib/core/subscription.js';

function open<E = number>(
  options?: QueueOptions,
  overflow?: (dropped: number) => E,
): { queue: BoundedQueue<E>; sub: Subscription<E>; close: ReturnType<typeof vi.fn> } {
  const close = vi.fn();
  let queue: BoundedQueue<E> | undefined;
  const sub = createSubscription<E>(
    options,
    (made) => {
      queue = made;
      return { close };
    },
    overflow ? { overflow } : {},
  );
  return { queue: queue as BoundedQueue<E>, sub, close };
}

const done = { done: true, value: undefined };
const value = (of: unknown) => ({ done: false, value: of });
const aborted = { name: 'AbortError', code: 'ABORT_ERR' };

describe('reading', () => {
  test('events queued before and after next() come in order', async () => {
    const { queue, sub } = open();
    queue.push(1);
    queue.push(2);
    expect(await sub.next()).toEqual(value(1));
    expect(await sub.next()).toEqual(value(2));
    const pending = sub.next();
    queue.push(3);
    expect(await pending).toEqual(value(3));
  });

  test('overlapping next() calls are served in the order they were made', async () => {
    const { queue, sub } = open();
    const order: number[] = [];
    const all = [sub.next(), sub.next(), sub.next()].map((promise, at) =>
      promise.then((result) => {
        order.push(at);
        return result.value;
      }),
    );
    queue.pushAll([1, 2]);
    queue.push(3);
    expect(await Promise.all(all)).toEqual([1, 2, 3]);
    expect(order).toEqual([0, 1, 2]);
  });

  test('undefined and null are events like others', async () => {
    const { queue, sub } = open<unknown>();
    queue.push(undefined);
    expect(await sub.next()).toEqual(value(undefined));
    const pending = sub.next();
    queue.push(null);
    expect(await pending).toEqual(value(null));
  });

  test('many events through a small ring, with the head going round', async () => {
    const { queue, sub } = open({ maxQueue: 100 });
    let sent = 0;
    let read = 0;
    for (let round = 0; round < 200; round++) {
      const burst = 1 + (round % 37);
      for (let at = 0; at < burst; at++) queue.push(sent++);
      for (let at = 0; at < burst; at++) expect((await sub.next()).value).toBe(read++);
    }
    expect(sub.dropped).toBe(0);
  });
});

describe('batches', () => {
  test('the first at once, bursts together', async () => {
    const { queue, sub } = open();
    const batches = sub.batches()[Symbol.asyncIterator]();
    const first = batches.next();
    queue.push(1);
    queue.push(2);
    queue.pushAll([3, 4]);
    expect(await first).toEqual(value([1]));
    expect(await batches.next()).toEqual(value([2, 3, 4]));
    const second = batches.next();
    const third = batches.next();
    queue.pushAll([5, 6]);
    queue.push(7);
    expect(await second).toEqual(value([5, 6]));
    expect(await third).toEqual(value([7]));
  });

  test('the arrays are the consumer’s: the source’s array is not shared', async () => {
    const { queue, sub } = open();
    const batches = sub.batches()[Symbol.asyncIterator]();
    const pending = batches.next();
    const burst = [1, 2];
    queue.pushAll(burst);
    burst.push(3);
    expect((await pending).value).toEqual([1, 2]);
  });

  test('break closes, end drains', async () => {
    const one = open();
    one.queue.pushAll([1, 2]);
    for await (const batch of one.sub.batches()) {
      expect(batch).toEqual([1, 2]);
      break;
    }
    expect(one.close).toHaveBeenCalledTimes(1);
    const two = open();
    two.queue.pushAll([1, 2]);
    two.queue.end();
    const seen: (readonly number[])[] = [];
    for await (const batch of two.sub.batches()) seen.push(batch);
    expect(seen).toEqual([[1, 2]]);
  });
});

describe('overflow', () => {
  test('drop-oldest keeps the newest', async () => {
    const { queue, sub } = open({ maxQueue: 3 });
    for (let at = 1; at <= 5; at++) queue.push(at);
    expect(sub.dropped).toBe(2);
    queue.end();
    const seen: number[] = [];
    for await (const event of sub) seen.push(event);
    expect(seen).toEqual([3, 4, 5]);
  });

  test('drop-newest keeps the oldest', async () => {
    const { queue, sub } = open({ maxQueue: 3, overflow: 'drop-newest' });
    queue.pushAll([1, 2, 3, 4, 5]);
    expect(sub.dropped).toBe(2);
    expect([(await sub.next()).value, (await sub.next()).value, (await sub.next()).value]).toEqual([1, 2, 3]);
    queue.push(6);
    expect((await sub.next()).value).toBe(6);
  });

  test('the note of a gap stands where the events are missing: drop-oldest', async () => {
    const { queue, sub } = open<number | string>({ maxQueue: 2 }, (lost) => `lost ${lost}`);
    queue.pushAll([1, 2, 3, 4]);
    expect((await sub.next()).value).toBe('lost 2');
    expect((await sub.next()).value).toBe(3);
    queue.pushAll([5, 6]);
    queue.end();
    const rest: unknown[] = [];
    for await (const event of sub) rest.push(event);
    expect(rest).toEqual(['lost 1', 5, 6]);
    expect(sub.dropped).toBe(3);
  });

  test('the note of a gap stands where the events are missing: drop-newest', async () => {
    const { queue, sub } = open<number | string>({ maxQueue: 2, overflow: 'drop-newest' }, (lost) => `lost ${lost}`);
    queue.pushAll([1, 2, 3, 4]);
    expect((await sub.next()).value).toBe(1);
    queue.push(5);
    expect((await sub.next()).value).toBe(2);
    expect((await sub.next()).value).toBe('lost 2');
    expect((await sub.next()).value).toBe(5);
    queue.pushAll([6, 7, 8]);
    queue.end();
    const rest: unknown[] = [];
    for await (const event of sub) rest.push(event);
    expect(rest).toEqual([6, 7, 'lost 1']);
  });

  test('a gap at the end of the queue is told, too, also in a batch and before the end', async () => {
    const { queue, sub } = open<number | string>({ maxQueue: 1, overflow: 'drop-newest' }, (lost) => `lost ${lost}`);
    queue.pushAll([1, 2]);
    queue.end();
    const seen: unknown[] = [];
    for await (const batch of sub.batches()) seen.push(...batch);
    expect(seen).toEqual([1, 'lost 1']);
  });

  test.each([0, -1, 1.5, Number.NaN, 2 ** 20 + 1])('maxQueue %d is refused', (maxQueue) => {
    expect(() => open({ maxQueue })).toThrow(/^maxQueue: /);
  });

  test('other options of the wrong kind are refused', () => {
    expect(() => open({ maxQueue: '1' as never })).toThrow(TypeError);
    expect(() => open({ overflow: 'drop' as never })).toThrow(/^overflow: /);
    expect(() => open({ signal: {} as never })).toThrow(/^signal: /);
    expect(() => open(null as never)).toThrow(/^options: /);
  });
});

describe('the end', () => {
  test('end() lets the consumer read what is queued, then done for good', async () => {
    const { queue, sub, close } = open();
    queue.push(1);
    queue.end();
    expect(close).toHaveBeenCalledTimes(1);
    expect(queue.closed).toBe(true);
    expect(queue.push(2)).toBe(false);
    expect(queue.pushAll([2])).toBe(false);
    expect(await sub.next()).toEqual(value(1));
    expect(await sub.next()).toEqual(done);
    expect(await sub.next()).toEqual(done);
  });

  test('end() answers everyone who waits', async () => {
    const { queue, sub } = open();
    const waiting = [sub.next(), sub.next()];
    queue.end();
    queue.end();
    expect(await Promise.all(waiting)).toEqual([done, done]);
  });

  test('fail() comes after what is queued, once', async () => {
    const { queue, sub, close } = open();
    queue.push(1);
    queue.fail(new Error('the source died'));
    queue.fail(new Error('twice'));
    expect(await sub.next()).toEqual(value(1));
    await expect(sub.next()).rejects.toThrow('the source died');
    expect(await sub.next()).toEqual(done);
    expect(close).toHaveBeenCalledTimes(1);
  });

  test('fail() rejects everyone who waits', async () => {
    const { queue, sub } = open();
    const waiting = [sub.next(), sub.next()];
    queue.fail(new Error('the source died'));
    for (const one of await Promise.allSettled(waiting)) expect(one.status).toBe('rejected');
    expect(await sub.next()).toEqual(done);
  });

  test('break, return(), dispose and a throwing loop body close once', async () => {
    const one = open();
    one.queue.pushAll([1, 2]);
    for await (const event of one.sub) {
      expect(event).toBe(1);
      break;
    }
    expect(await one.sub.next()).toEqual(done);
    await one.sub.return?.();
    await one.sub[Symbol.asyncDispose]();
    expect(one.close).toHaveBeenCalledTimes(1);

    const two = open();
    two.queue.push(1);
    await expect(
      (async () => {
        for await (const _ of two.sub) throw new Error('body');
      })(),
    ).rejects.toThrow('body');
    expect(two.close).toHaveBeenCalledTimes(1);

    const three = open();
    {
      await using _ = three.sub;
    }
    expect(three.close).toHaveBeenCalledTimes(1);
    expect(three.queue.closed).toBe(true);
  });

  test('return() answers whoever waits', async () => {
    const { sub } = open();
    const waiting = sub.next();
    await sub.return?.();
    expect(await waiting).toEqual(done);
  });

  test('a source that ends while it opens is closed once', async () => {
    const close = vi.fn();
    const sub = createSubscription<number>(undefined, (queue) => {
      queue.push(1);
      queue.end();
      return { close };
    });
    expect(close).toHaveBeenCalledTimes(1);
    expect(await sub.next()).toEqual(value(1));
    expect(await sub.next()).toEqual(done);
  });

  test("ref() and unref() are the source's while it is open, and nothing where there is none to keep", async () => {
    const source = { close: vi.fn(), ref: vi.fn(), unref: vi.fn() };
    const sub = createSubscription<number>(undefined, () => source);
    expect(sub.unref().ref().unref()).toBe(sub);
    await sub.return?.();
    sub.ref().unref();
    expect([source.ref.mock.calls.length, source.unref.mock.calls.length]).toEqual([1, 2]);
    open().sub.unref().ref();
  });

  test('a source that cannot open leaves no listener behind', () => {
    const { signal } = new AbortController();
    expect(() =>
      createSubscription({ signal }, () => {
        throw new Error('no');
      }),
    ).toThrow('no');
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });
});

describe('abort', () => {
  test('rejects everyone who waits, then done', async () => {
    const controller = new AbortController();
    const { sub, close, queue } = open({ signal: controller.signal });
    const waiting = [sub.next(), sub.next()];
    controller.abort(new Error('why'));
    for (const one of waiting) await expect(one).rejects.toMatchObject({ ...aborted, cause: { message: 'why' } });
    expect(await sub.next()).toEqual(done);
    expect(close).toHaveBeenCalledTimes(1);
    expect(queue.push(1)).toBe(false);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  test('rejects the next next() when none waits; what is queued is discarded', async () => {
    const controller = new AbortController();
    const { sub, queue } = open({ signal: controller.signal });
    queue.pushAll([1, 2]);
    controller.abort();
    await expect(sub.next()).rejects.toMatchObject(aborted);
    expect(await sub.next()).toEqual(done);
  });

  test('ends a for await', async () => {
    const controller = new AbortController();
    const { sub, queue } = open({ signal: controller.signal });
    queue.push(1);
    const seen: number[] = [];
    await expect(
      (async () => {
        for await (const event of sub) {
          seen.push(event);
          controller.abort();
        }
      })(),
    ).rejects.toMatchObject(aborted);
    expect(seen).toEqual([1]);
  });

  test('a signal aborted beforehand: the source is not opened', async () => {
    const opened = vi.fn(() => ({ close() {} }));
    const sub = createSubscription({ signal: AbortSignal.abort() }, opened);
    expect(opened).not.toHaveBeenCalled();
    await expect(sub.next()).rejects.toMatchObject(aborted);
    expect(await sub.next()).toEqual(done);
  });

  test('after the source’s end it still beats what is queued, and a failure', async () => {
    for (const stop of ['end', 'fail'] as const) {
      const controller = new AbortController();
      const { sub, queue } = open({ signal: controller.signal });
      queue.push(1);
      queue[stop](new Error('source'));
      controller.abort();
      await expect(sub.next()).rejects.toMatchObject(aborted);
      expect(await sub.next()).toEqual(done);
    }
  });

  test('a stream that was read to its end stays done', async () => {
    const controller = new AbortController();
    const { sub, queue } = open({ signal: controller.signal });
    queue.end();
    expect(await sub.next()).toEqual(done);
    controller.abort();
    expect(await sub.next()).toEqual(done);
  });

  test('no listener outlives its subscription', async () => {
    const { signal } = new AbortController();
    for (let at = 0; at < 100; at++) {
      const { sub, queue } = open({ signal });
      if (at % 2) queue.end();
      else await sub.return?.();
    }
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  test('one signal for many subscriptions is no leak to Node', async () => {
    const warned = vi.fn();
    process.on('warning', warned);
    const { signal } = new AbortController();
    const subs = Array.from({ length: 50 }, () => open({ signal }).sub);
    await new Promise((resolve) => setTimeout(resolve, 10));
    process.off('warning', warned);
    expect(warned.mock.calls).toEqual([]);
    for (const sub of subs) await sub.return?.();
  });

  test('a rejection that nobody waits for is no unhandled rejection', async () => {
    const unhandled = vi.fn();
    process.on('unhandledRejection', unhandled);
    try {
      const controller = new AbortController();
      const { queue } = open({ signal: controller.signal });
      open().queue.fail(new Error('unread'));
      queue.push(1);
      controller.abort();
      await new Promise((resolve) => setTimeout(resolve, 10));
      expect(unhandled).not.toHaveBeenCalled();
    } finally {
      process.off('unhandledRejection', unhandled);
    }
  });
});

describe('one reader at a time', () => {
  const iterating = { code: 'OVERNS_ITERATING' };

  test('a second for await fails and leaves the first alone', async () => {
    const { sub, queue } = open();
    queue.pushAll([1, 2]);
    for await (const event of sub) {
      if (event === 2) break;
      await expect(
        (async () => {
          for await (const _ of sub);
        })(),
      ).rejects.toMatchObject(iterating);
    }
  });

  test('next() and batches() do not mix', async () => {
    const one = open();
    one.queue.push(1);
    await one.sub.next();
    expect(() => one.sub.batches()[Symbol.asyncIterator]()).toThrow(/read already/);
    const two = open();
    two.sub.batches()[Symbol.asyncIterator]();
    await expect(two.sub.next()).rejects.toMatchObject(iterating);
    expect(() => two.sub[Symbol.asyncIterator]()).toThrow(/read already/);
    expect(() => two.sub.batches()[Symbol.asyncIterator]()).toThrow(/read already/);
  });

  test('next() before a for await is fine', async () => {
    const { sub, queue } = open();
    queue.pushAll([1, 2]);
    queue.end();
    expect(await sub.next()).toEqual(value(1));
    for await (const event of sub) expect(event).toBe(2);
  });

  test('once it is done, every way of reading says so', async () => {
    const { sub } = open();
    await sub.return?.();
    for await (const _ of sub) expect.unreachable();
    for await (const _ of sub.batches()) expect.unreachable();
    expect(await sub.next()).toEqual(done);
  });
});
