/**
 * A target is a container, as callers name it. Each kind of target has one file here, and a line in `registry.ts`: what its
 * references look like, and how they lead to a network namespace.
 */
import { OvernsError } from '../../core/errors.js';
import type { NetnsRef } from '../../netns/references.js';
import { netnsIdentity, netnsPath } from '../../netns/references.js';
import type { System } from '../../system/system.js';
import type { EngineOptions } from './engine-api.js';

/** Means to look a target up. */
export interface TargetOptions extends EngineOptions {
  readonly system: System;
}

/** A container's network namespace. */
export interface ContainerTarget {
  /** The namespace's file. */
  readonly path: string;
  /** The container that was found, in the words of its kind: `docker:NAME`, a path. */
  readonly description: string;
  /** As {@link netnsIdentity} gives it when the container was found: a later difference is another container. */
  readonly identity: string;
  /** The id that the container's engine gives it. */
  readonly id?: string;
}

/** A reference that was taken apart; finds its container. */
export type Target = (options: TargetOptions) => Promise<ContainerTarget>;

/** A kind of target. A reference is a text, or an object with a `Value` under its scheme. */
export interface TargetKind<Scheme extends string = string, Value = string> {
  /** `SCHEME:` begins its text, and the property of that name makes a reference of an object: lower-case letters. */
  readonly scheme: Scheme;
  /** How it is written, for help and errors. */
  readonly form: string;
  /** True for a text without the scheme that can only be of this kind; such a text is read whole. */
  claims?(text: string): boolean;
  /**
   * Reads what stands behind `SCHEME:`. Does not look at the machine.
   * @throws RangeError ERR_INVALID_ARG_VALUE
   */
  fromText(text: string, argument: string): Target;
  /**
   * Reads the property of an object, which is still to be checked. Default: it is a string, read as a text.
   * @throws RangeError ERR_INVALID_ARG_VALUE or TypeError ERR_INVALID_ARG_TYPE
   */
  fromProperty?(value: Value, argument: string): Target;
}

/** The container of a network namespace. */
export function netnsTarget(ref: NetnsRef, description: string): Target {
  return async ({ system }) => {
    const path = await netnsPath(system, ref, 'container');
    return { path, description, identity: await identify(system, path, description) };
  };
}

/** The identity of a namespace that was there a moment ago. */
export async function identify(system: System, path: string, description: string): Promise<string> {
  try {
    return await netnsIdentity(system, path);
  } catch (cause) {
    throw new OvernsError('ESRCH', `${description}: its namespace has gone meanwhile`, {
      hint: 'start it again',
      cause,
    });
  }
}
