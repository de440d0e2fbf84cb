/** Log of an agent: events as the seed's daemon words them, and what the seed does not know in the same manner. */
import type { AgentEvent, ResolverEvent } from '../index.js';
import { errorWords, type Log } from './output.js';
import { Outage, type OutageReport, Repeats } from './repeats.js';
import { answerLines, conflictWords, endpointWords, missLine } from './words.js';

/** How many of a kind are said within a minute. The rest is counted. */
const MOST = {
  resolved: 500,
  absent: 100,
  unanswered: 1,
  record: 10,
  notHere: 10,
  rejected: 10,
  contradicted: 10,
  overrun: 1,
  overflow: 1,
  state: 20,
  repaired: 20,
  damaged: 20,
  pending: 5,
  conflict: 20,
  neighbors: 1,
};

export class AgentLog implements Disposable {
  readonly #log: Log;
  readonly #source: string;
  readonly #several: boolean;
  readonly #repeats: Repeats;
  readonly #outage: Outage;

  /**
   * @param source what the store is called
   * @param several whether events are of several overlays, and say of which
   * @param everyMs how long a minute is
   */
  constructor(log: Log, source: string, several: boolean, everyMs?: number) {
    this.#log = log;
    this.#source = source;
    this.#several = several;
    this.#repeats = new Repeats(everyMs);
    this.#outage = new Outage((what, report) => this.#tellOutage(what, report), everyMs);
  }

  [Symbol.dispose](): void {
    this.#outage[Symbol.dispose]();
    this.#repeats[Symbol.dispose]();
  }

  /** Forgets what was wrong with an overlay that is not served any more. */
  #forget(overlay: string): void {
    this.#outage.up(overlay);
  }

  tell(event: AgentEvent): void {
    const prefix = this.#several ? `${event.overlay}: ` : '';
    const info = (text: string): void => this.#log.info(prefix + text);
    const warn = (text: string): void => this.#log.warn(prefix + text);
    switch (event.kind) {
      case 'resolved':
        this.#say('resolved', 'misses were answered', 'info', () => {
          info(missLine(event.miss));
          for (const line of answerLines(event, this.#source)) info(line);
          this.#log.debug(`${prefix}answered from the ${event.by} in ${event.tookUs} µs`);
        });
        break;
      case 'unresolved':
        this.#unresolved(event, info, warn);
        break;
      case 'rejected':
        this.#say('rejected', 'answers could not be used', 'warn', () => {
          info(missLine(event.miss));
          warn(`the answer cannot be used: ${event.reason}`);
        });
        break;
      case 'unreadable':
        this.#say('rejected', 'records could not be used', 'warn', () =>
          warn(`records of ${this.#source} that cannot be read are left out (${event.count}): ${event.error.message}`),
        );
        break;
      case 'contradicted':
        this.#say('contradicted', 'frames came from where their sender is not', 'warn', () =>
          warn(
            `a frame from ${event.learned} had the MAC address ${event.mac}, which is at ${event.vtep}: it leads there again`,
          ),
        );
        break;
      case 'overrun':
        this.#say('overrun', 'times the kernel dropped misses', 'warn', () =>
          warn(`the kernel dropped misses (${event.dropped}): they come again when the senders retry`),
        );
        break;
      case 'overflow':
        this.#say('overflow', 'times events came faster than they could be logged', 'warn', () =>
          warn(`${event.dropped} events came faster than they could be logged; they were answered all the same`),
        );
        break;
      case 'store-down':
        this.#outage.down(event.overlay, event.error && errorWords(event.error as Error));
        break;
      case 'store-up':
        this.#outage.up(event.overlay);
        break;
      case 'grace':
        this.#say('state', 'overlays changed their state', 'warn', () =>
          warn(
            `${this.#source} lists ${event.listed} of ${event.listed + event.missing} addresses: nothing is withdrawn for ${event.graceMs / 1000} s, in which hosts that live publish again`,
          ),
        );
        break;
      case 'grace-over':
        this.#say('state', 'overlays changed their state', 'info', () =>
          info(
            event.withdrawn === 0
              ? `${this.#source} has all addresses again, and nothing was withdrawn`
              : `${event.withdrawn} addresses that ${this.#source} still lacks are withdrawn`,
          ),
        );
        break;
      case 'punt-off':
        this.#say('state', 'overlays changed their state', 'warn', () =>
          warn(`packets to a MAC address that is not known yet are lost until it is: ${event.reason}`),
        );
        break;
      case 'punt-on':
        this.#say('state', 'overlays changed their state', 'info', () =>
          info('packets to a MAC address that is not known yet are caught again'),
        );
        break;
      case 'overlay-lost':
        this.#forget(event.overlay);
        this.#say('state', 'overlays changed their state', 'warn', () =>
          warn(
            event.cause === 'removed'
              ? `overlay ${event.overlay} is lost: it has been removed, or its vxlan1 has`
              : `overlay ${event.overlay} is taken over by another agent${event.pid === undefined ? '' : ` (pid ${event.pid})`}`,
          ),
        );
        break;
      case 'overlay-back':
        this.#say('state', 'overlays changed their state', 'info', () =>
          info(`overlay ${event.overlay} is back, and served again`),
        );
        break;
      case 'sync':
        this.#say('state', 'overlays changed their state', 'warn', () => {
          if (event.error === undefined) info('the whole network is followed in the store again');
          else if (event.sync === 'used')
            info(`only addresses in use are followed from now on: ${event.error.message}`);
          else
            warn(`changes of the network are not followed, each answer holds for its TTL: ${errorWords(event.error)}`);
        });
        break;
      case 'serving':
        this.#log.info(`serving overlay ${event.overlay}`);
        break;
      case 'gone':
        this.#forget(event.overlay);
        this.#log.warn(`overlay ${event.overlay} is gone, and not served any more`);
        break;
      case 'elsewhere':
        this.#forget(event.overlay);
        this.#log.info(`overlay ${event.overlay} is served by another agent (pid ${event.pid})`);
        break;
      case 'refused':
        this.#log.warn(`overlay ${event.overlay} cannot be served, and is tried again: ${event.error.message}`);
        break;
      case 'published':
        this.#log.debug(`${prefix}${endpointWords(event.endpoint)} is published`);
        break;
      case 'withdrawn':
        this.#log.debug(`${prefix}${endpointWords(event.endpoint)} is withdrawn`);
        break;
      case 'pending':
        this.#say('pending', 'endpoints could not be published yet', 'warn', () =>
          warn(`${endpointWords(event.endpoint)} cannot be published yet, and is tried again: ${event.error.message}`),
        );
        break;
      case 'conflict':
        this.#say('conflict', 'endpoints were in conflict', 'warn', () =>
          warn(`${endpointWords(event.endpoint)} ${conflictWords(event.holder, event.won)}`),
        );
        break;
      case 'conflict-over':
        this.#say('conflict', 'conflicts ended', 'info', () =>
          info(`${endpointWords(event.endpoint)} is in conflict no more`),
        );
        break;
      case 'stray':
        this.#say('conflict', 'records point at this host', 'warn', () =>
          warn(
            `a record of ${this.#source} points at this host (${event.endpoint.vtep}), where nobody has that address: ${endpointWords(event.endpoint)}`,
          ),
        );
        break;
      case 'repaired':
        this.#say('repaired', 'repairs were made', 'warn', () =>
          this.#log.warn(`overlay ${event.overlay}: ${event.fault}, and has been put right`),
        );
        break;
      case 'damaged':
        this.#say('damaged', 'repairs failed', 'warn', () =>
          this.#log.warn(
            `overlay ${event.overlay}: ${event.fault}, and cannot be put right: ${errorWords(event.error)}`,
          ),
        );
        break;
      case 'neighbors-full':
        this.#say('neighbors', 'times neighbours were refused', 'warn', () =>
          this.#log.warn(`${event.refused} neighbours could not be entered: ${errorWords(event.error)}`),
        );
        break;
      case 'renumbered':
        this.#log.info(`overlay ${event.overlay}: this host's vtep ${event.from} has gone, it is ${event.to} now`);
        break;
      case 'underlay':
        if (event.fault === undefined)
          this.#log.info(`overlay ${event.overlay}: its underlay is what it was made for again`);
        else this.#log.warn(`overlay ${event.overlay}: ${errorWords(event.fault)}`);
        break;
    }
  }

  #unresolved(
    event: Extract<ResolverEvent, { kind: 'unresolved' }>,
    info: (text: string) => void,
    warn: (text: string) => void,
  ): void {
    const key = event.miss.kind === 'l3' ? `IP ${event.miss.ip}` : `MAC ${event.miss.mac}`;
    if (event.cause === 'absent') {
      this.#say('absent', `misses were of addresses that ${this.#source} has no record of`, 'info', () => {
        info(missLine(event.miss));
        info(`${this.#source} has no record of ${key}`);
      });
      return;
    }
    if (event.cause === 'not-here') {
      const what = `misses were of addresses that ${this.#source} has on this host, where nobody has them`;
      const say = (): void => {
        info(missLine(event.miss));
        warn(
          `${this.#source} says that ${key} is on this host, where nobody has it: attach its container, or delete its record`,
        );
      };
      this.#say('notHere', what, 'warn', say, `${event.overlay} ${key}`);
      return;
    }
    const bad = (event.error as { code?: string } | undefined)?.code === 'OVERNS_RECORD';
    if (!bad && this.#outage.missed(event.overlay)) return;
    this.#say(bad ? 'record' : 'unanswered', 'misses had no answer', 'warn', () => {
      info(missLine(event.miss));
      const why = event.cause === 'timeout' ? 'it took too long' : (event.error?.message ?? event.cause);
      warn(`${this.#source} gave no answer about ${key}: ${why}`);
    });
  }

  /** @param about what is said once a minute at most; of each kind as many as there may be */
  #say(kind: keyof typeof MOST, what: string, level: 'info' | 'warn', say: () => void, about?: string): void {
    const total = (count: number): void =>
      this.#log[level](`${count} more ${what} within the last minute, which are not shown`);
    this.#repeats.say(kind, MOST[kind], say, total, about);
  }

  #tellOutage(what: 'begins' | 'lasts' | 'ends', { overlays, missed, seconds, message }: OutageReport): void {
    const many = overlays === 1 ? '1 overlay' : `${overlays} overlays`;
    const unanswered = missed === 0 ? '' : `, ${missed} misses without an answer`;
    const said = message === undefined ? '' : `: ${message}`;
    // One that refuses, by a status of HTTP, has been reached.
    const done = /\banswered \d{3}\b/.test(said) ? 'used' : 'reached';
    if (what === 'begins') this.#log.warn(`${this.#source} cannot be ${done} (${many})${said}; serving what is known`);
    else if (what === 'lasts')
      this.#log.warn(`${this.#source} could not be ${done} for ${seconds} s (${many}${unanswered})${said}`);
    else this.#log.info(`${this.#source} can be used again after ${seconds} s (${many}${unanswered})`);
  }
}
